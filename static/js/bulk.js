// Several calls with one reason: each goes the way of a single decision, and each outcome is reported by itself.

import { gathered } from "./later.js";
import { all, current, isOpen, on, rowOf } from "./rows.js";
import { postForm } from "./server.js";

const LATER = 200;
const bar = document.getElementById("bulk");
const sheet = document.getElementById("bulk-sheet");
const list = document.getElementById("rows");
let decided = () => {};

function picked() {
  return [...list.querySelectorAll(".pick:checked")].map((pick) => pick.closest(".row")).filter((row) => row.dataset.state === "pending");
}

function show() {
  const { length } = picked();
  bar.hidden = length === 0;
  list.classList.toggle("picking", length > 0);
  bar.querySelector("[data-picked]").textContent = `${length} selected`;
}

export function togglePick(row) {
  const pick = row?.querySelector(".pick");
  if (!pick || pick.disabled) return false;
  pick.checked = !pick.checked;
  show();
  return true;
}

function item(row) {
  const line = document.createElement("li");
  line.dataset.for = row.dataset.id;
  const what = document.createElement("span");
  what.append(...[...row.querySelector(".what").childNodes].map((node) => node.cloneNode(true)));
  line.append(what, document.createElement("b"));
  return line;
}

async function decideOne(row, kind, reason) {
  const { status, body } = await postForm(`${row.querySelector("a").pathname}decide/`, {
    kind, reason, digest: row.dataset.digest, view_digest: row.dataset.view, idempotency_key: crypto.randomUUID(),
  });
  if (status === 200 || status === 409) decided(row.dataset.id, body.state);
  return status === 200 ? (body.message ?? body.state) : body.error;
}

async function decideAll(kind, button) {
  button.disabled = true;
  const reason = document.getElementById("bulk-reason").value;
  for (const line of sheet.querySelectorAll("[data-for]")) {
    const row = rowOf(line.dataset.for);
    const outcome = row?.dataset.state === "pending" ? await decideOne(row, kind, reason) : "no longer waits";
    line.lastElementChild.textContent = outcome;
  }
  button.hidden = true;
  show();
}

function ask(kind) {
  const rows = picked();
  const verb = kind === "approve" ? "Approve" : "Reject";
  sheet.querySelector("#bulk-title").textContent = `${verb} ${rows.length} ${rows.length === 1 ? "call" : "calls"}`;
  sheet.querySelector("[data-items]").replaceChildren(...rows.map(item));
  const button = sheet.querySelector("[data-send]");
  button.textContent = `${verb} all of these`;
  button.className = kind === "approve" ? "approve" : "refuse";
  button.hidden = false;
  button.disabled = false;
  button.onclick = () => decideAll(kind, button);
  sheet.showModal();
  document.getElementById("bulk-reason").focus();
}

function toList() {
  (current() ?? all().find(isOpen))?.querySelector("a").focus();
}

export function startBulk(whenDecided) {
  decided = whenDecided;
  list.addEventListener("change", show);
  on("change", gathered(show, LATER));
  sheet.addEventListener("close", () => {
    if (bar.hidden) toList();
  });
  bar.addEventListener("click", (event) => {
    const kind = event.target.closest("[data-bulk]")?.dataset.bulk;
    if (kind === "clear") {
      for (const row of picked()) row.querySelector(".pick").checked = false;
      show();
      toList();
    } else if (kind) {
      ask(kind);
    }
  });
}
