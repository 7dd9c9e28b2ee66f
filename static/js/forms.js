// Plain forms made kinder: sent once, sent on change, menus that close.

function once(event) {
  const form = event.target.closest("form[data-once]");
  if (!form) return;
  if (form.dataset.sent === "yes") {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
}

// What is changed after it was sent goes under a key of its own.
function renew(event) {
  const form = event.target.closest("form[data-once]");
  if (form?.dataset.sent !== "before") return;
  delete form.dataset.sent;
  const key = form.elements.idempotency_key;
  if (key) key.value = crypto.randomUUID();
}

function change(event) {
  if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (event.type === "keydown" ? event.key === "Escape" : !menu.contains(event.target)) menu.open = false;
  }
}

export function startForms() {
  document.addEventListener("submit", once);
  document.addEventListener("change", change);
  document.addEventListener("input", renew);
  document.addEventListener("click", closeMenus);
  document.addEventListener("keydown", closeMenus);
  // Back from the next page: the form may be sent again (its idempotency key makes that harmless).
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) form.dataset.sent = "before";
  });
}
