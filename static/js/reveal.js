// A masked value on request: it comes by itself, is shown to this person alone, and is gone after a minute.

import { postForm } from "./server.js";
import { toast } from "./toasts.js";

const SHOWN_FOR = 60_000;

function hide(box) {
  box.replaceChildren();
  box.remove();
}

function hideAll() {
  for (const box of document.querySelectorAll("[data-shown]")) hide(box);
}

function show(form, value) {
  const box = document.createElement("div");
  box.className = "revealed";
  box.dataset.shown = "yes";
  const text = document.createElement("pre");
  text.className = "value";
  text.tabIndex = 0;
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", "The value");
  text.textContent = value;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Hide it";
  button.addEventListener("click", () => hide(box));
  box.append(text, button);
  form.closest("details").after(box);
  form.closest("details").open = false;
  form.reset();
  text.focus();
  setTimeout(() => hide(box), SHOWN_FOR);
}

async function ask(form) {
  hideAll();
  const { status, body } = await postForm(form.action, Object.fromEntries(new FormData(form)));
  if (status === 200 && form.isConnected) show(form, body.value);
  else if (status !== 200) toast(body.error ?? "That did not work. Nothing was shown.", { bad: true });
}

export function startReveals() {
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-reveal]")) return;
    event.preventDefault();
    ask(event.target);
  });
  // A page that is kept for the way back keeps no value.
  addEventListener("pagehide", hideAll);
}
