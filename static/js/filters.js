// The filter above the list works while typing; snoozed calls stay out of the list for this person for an hour.

import { all, on } from "./rows.js";
import { recall, remember } from "./store.js";

const HOUR = 3_600_000;
const text = document.getElementById("q");
const risk = document.getElementById("risk");
const noMatch = document.getElementById("no-match");
const empty = document.getElementById("empty");
const snoozedLine = document.getElementById("snoozed");
const KEY = `snoozed-${document.body.dataset.person}`;
let showSnoozed = false;

function snoozed() {
  const now = Date.now();
  return Object.fromEntries(Object.entries(recall(KEY, {})).filter(([, until]) => until > now));
}

function matches(row, words) {
  if (risk.value && row.dataset.risk !== risk.value) return false;
  return words.every((word) => row.dataset.text.includes(word));
}

export function apply() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const asleep = snoozed();
  let visible = 0;
  let sleeping = 0;
  for (const row of all()) {
    const sleeps = row.dataset.id in asleep && row.dataset.state === "pending";
    sleeping += sleeps ? 1 : 0;
    const out = (sleeps && !showSnoozed) || !matches(row, words);
    row.classList.toggle("filtered", out);
    visible += out ? 0 : 1;
  }
  const filtering = words.length > 0 || risk.value !== "";
  noMatch.hidden = visible > 0 || !filtering;
  empty.hidden = visible > 0 || filtering;
  snoozedLine.hidden = sleeping === 0;
  snoozedLine.querySelector("button").textContent = showSnoozed ? `Hide ${sleeping} snoozed` : `${sleeping} snoozed: show`;
}

export function snooze(row) {
  remember(KEY, { ...snoozed(), [row.dataset.id]: Date.now() + HOUR });
  apply();
}

export function focusFilter() {
  text.focus();
  text.select();
}

export function startFilters() {
  text.addEventListener("input", apply);
  risk.addEventListener("change", apply);
  text.form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") text.blur();
  });
  document.querySelector("[data-clear-filter]").addEventListener("click", () => {
    text.value = "";
    risk.value = "";
    apply();
  });
  snoozedLine.querySelector("button").addEventListener("click", () => {
    showSnoozed = !showSnoozed;
    apply();
  });
  on("change", apply);
  apply();
}
