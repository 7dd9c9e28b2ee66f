// The filter above the list works while typing; snoozed calls stay out of the list until this person's snooze is over.

import { gathered } from "./later.js";
import { all, on } from "./rows.js";
import { postForm } from "./server.js";
import { serverNow } from "./times.js";
import { toast } from "./toasts.js";

const text = document.getElementById("q");
const risk = document.getElementById("risk");
const noMatch = document.getElementById("no-match");
const empty = document.getElementById("empty");
const snoozedLine = document.getElementById("snoozed");
let showSnoozed = false;
let words = [];

function isAsleep(row) {
  const { asleep, state } = row.dataset;
  return asleep !== undefined && state === "pending" && Date.parse(asleep) > serverNow();
}

function matches(row) {
  if (risk.value && row.dataset.risk !== risk.value) return false;
  return words.every((word) => row.dataset.text.includes(word));
}

function applyTo(row) {
  const out = (!showSnoozed && isAsleep(row)) || !matches(row);
  row.classList.toggle("filtered", out);
  return !out;
}

export function apply() {
  words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let visible = 0;
  let sleeping = 0;
  for (const row of all()) {
    sleeping += isAsleep(row) ? 1 : 0;
    visible += applyTo(row) ? 1 : 0;
  }
  const filtering = words.length > 0 || risk.value !== "";
  noMatch.hidden = visible > 0 || !filtering;
  empty.hidden = visible > 0 || filtering;
  snoozedLine.hidden = sleeping === 0;
  snoozedLine.querySelector("button").textContent = showSnoozed ? `Hide ${sleeping} snoozed` : `${sleeping} snoozed: show`;
}

// A row that comes is filtered as it comes; how many there are is counted once for many of them.
const soon = gathered(apply, 100);

export async function snooze(row) {
  const on = !isAsleep(row);
  const { status, body } = await postForm(`${row.querySelector("a").pathname}snooze/`, { on: on ? "yes" : "no" });
  if (status !== 200) {
    toast(body.error ?? "The call could not be snoozed.", { bad: true });
    return false;
  }
  if (on) row.dataset.asleep = body.asleep_until;
  else delete row.dataset.asleep;
  toast(on ? "Snoozed for an hour, for you alone." : "Awake again.");
  apply();
  return on;
}

export function focusFilter() {
  text.focus();
  text.select();
}

function use(q, wanted) {
  text.value = q;
  risk.value = wanted;
  apply();
}

function startSaved() {
  const menu = document.querySelector(".saved");
  menu.addEventListener("click", (event) => {
    const link = event.target.closest("[data-saved]");
    if (!link) return;
    event.preventDefault();
    use(link.dataset.q, link.dataset.risk);
    menu.open = false;
  });
  menu.querySelector("[data-save-filter]").addEventListener("submit", ({ target }) => {
    target.elements.q.value = text.value;
    target.elements.risk.value = risk.value;
  });
}

export function startFilters() {
  text.addEventListener("input", apply);
  risk.addEventListener("change", apply);
  text.form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") text.blur();
  });
  document.querySelector("[data-clear-filter]").addEventListener("click", () => {
    use("", "");
    text.focus();
  });
  snoozedLine.querySelector("button").addEventListener("click", () => {
    showSnoozed = !showSnoozed;
    apply();
  });
  startSaved();
  on("fill", applyTo);
  on("change", soon);
  // A snooze that is over brings its row back.
  setInterval(soon, 30_000);
  apply();
}
