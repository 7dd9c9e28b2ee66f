// The redaction settings' preview: what is entered is redacted on the server as it is typed, and shown with its chips.

import { shown } from "./chips.js";

const WAIT = 250;
const box = document.querySelector("[data-preview]");
const output = box?.querySelector("pre");
const form = box?.closest("form");
let timer = 0;
let latest = 0;

function problems(errors) {
  return Object.values(errors).flat().map((error) => error.message).join("\n");
}

async function refresh() {
  const turn = (latest += 1);
  try {
    const answer = await fetch(box.dataset.preview, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
    const said = await answer.json();
    if (turn !== latest) return;
    output.replaceChildren(said.errors ? problems(said.errors) : shown(said.text));
  } catch {
    if (turn === latest) output.replaceChildren("The preview can't be reached at the moment.");
  }
}

form?.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(refresh, WAIT);
});
