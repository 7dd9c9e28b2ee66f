// One key table drives the handlers, the badges on buttons and the `?` sheet.

import { postForm } from "./server.js";

const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";

let table = [];
let allowed = () => true;

export function keysAreOn() {
  return document.body.dataset.keys !== "off";
}

function badges() {
  for (const badge of document.querySelectorAll("[data-badge]")) {
    const entry = table.find((each) => each.name === badge.dataset.badge);
    badge.hidden = !keysAreOn() || !entry;
    if (entry) badge.textContent = entry.label;
  }
  for (const hint of document.querySelectorAll("[data-with-keys]")) hint.hidden = !keysAreOn();
}

function sheet() {
  const dialog = document.getElementById("keys");
  if (!dialog) return;
  const list = dialog.querySelector("[data-keys]");
  const line = document.getElementById("key-line");
  list.replaceChildren(...table.filter((entry) => entry.does).map((entry) => {
    const copy = line.content.cloneNode(true);
    copy.querySelector("kbd").textContent = entry.label;
    copy.querySelector("dd").textContent = entry.does;
    return copy;
  }));
  const box = document.getElementById("keys-on");
  box.checked = keysAreOn();
  box.addEventListener("change", () => {
    document.body.dataset.keys = box.checked ? "on" : "off";
    postForm("/settings/keys/", { on: box.checked ? "yes" : "no" });
    badges();
  });
  const opener = document.querySelector("[data-open-keys]");
  if (opener) {
    opener.hidden = false;
    opener.addEventListener("click", () => dialog.showModal());
  }
}

function press(event) {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.(TYPING) || document.querySelector("dialog[open]")) return;
  const entry = table.find((each) => each.keys.includes(event.key));
  if (!entry || (!keysAreOn() && event.key.length === 1 && !entry.always)) return;
  event.preventDefault();
  if (entry.guarded && !allowed()) return;
  entry.run(event);
}

// entries: {name, keys, label, does, run, guarded?}. `guard` answers whether a guarded key may act now.
export function startKeys(entries, guard = () => true) {
  allowed = guard;
  table = [
    ...entries,
    { name: "help", keys: ["?"], label: "?", does: "this sheet", run: () => document.getElementById("keys").showModal() },
  ];
  sheet();
  badges();
  document.addEventListener("keydown", press);
}

export { badges as showBadges };
