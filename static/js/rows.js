// The list of waiting calls. A row's node lives as long as the row; arrivals never move what is under the pointer.

import { shown } from "./chips.js";
import { disarm } from "./guard.js";
import { afterPaint } from "./later.js";
import { setTime, tick } from "./times.js";

const LINGER = 4000;
// As long as a new row is marked.
const FRESH = 1600;
const list = document.getElementById("rows");
const news = document.getElementById("news");
const blank = document.getElementById("row");
const held = new Map();
const listeners = { select: [], change: [], fill: [] };
const settledAt = new Map();
const astray = new Set();
const kept = new WeakMap();
const afterwards = afterPaint();
const byId = new Map([...list.children].map((row) => [row.dataset.id, row]));
let selected = null;
let marked = null;
let elsewhere = null;

export function on(kind, listener) {
  listeners[kind].push(listener);
}

function tell(kind, value) {
  for (const listener of listeners[kind]) listener(value);
}

export function rowOf(id) {
  return byId.get(id) ?? null;
}

export function all() {
  return [...list.children];
}

export function isOpen(row) {
  return row.dataset.state === "pending" && !row.classList.contains("filtered");
}

export function current() {
  return selected;
}

export function isKnown(id) {
  return held.has(id) || byId.has(id);
}

export function select(row, { focus = false } = {}) {
  if (!row || row === selected) return;
  marked?.removeAttribute("aria-current");
  selected = row;
  marked = row.querySelector("a");
  marked.setAttribute("aria-current", "true");
  if (focus) marked.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  disarm();
  // The mark is drawn first: the call itself takes longer to lay out than a key may wait for its answer.
  afterwards(() => tell("select", selected));
}

// The row before (-1) or after (1) the selected one among those that wait.
export function neighbour(direction) {
  const step = direction > 0 ? "nextElementSibling" : "previousElementSibling";
  let row = selected ? selected[step] : list[direction > 0 ? "firstElementChild" : "lastElementChild"];
  while (row && !isOpen(row)) row = row[step];
  return row ?? undefined;
}

export function move(direction) {
  // Where there is no next call the selection stays, and a key meant for the next one must not decide this one.
  disarm();
  const stuck = selected && !isOpen(selected);
  select(neighbour(direction) ?? (stuck ? neighbour(-direction) : null), { focus: true });
}

// Whether nothing has changed but who has claimed the call.
function isSame(before, data) {
  return before && Object.keys(data).every((name) => name === "claimed_by" || before[name] === data[name]);
}

function fill(row, data) {
  const same = isSame(kept.get(row), data);
  kept.set(row, data);
  if (same) {
    showClaim(row, data.claimed_by);
    return;
  }
  const { dataset } = row;
  Object.assign(dataset, {
    id: data.id, state: data.state, risk: data.risk, rank: data.risk_rank, opened: data.opened_at,
    text: data.search, digest: data.digest, view: data.view_digest, decidable: data.can_decide ? "yes" : "no",
  });
  if (data.asleep_until) dataset.asleep = data.asleep_until;
  else delete dataset.asleep;
  row.querySelector("a").href = data.url;
  const risk = row.querySelector(".risk");
  risk.className = `risk ${data.risk}`;
  risk.querySelector("use").setAttribute("href", `#i-${data.risk}`);
  risk.lastElementChild.textContent = data.risk;
  row.querySelector("code").textContent = data.tool;
  row.querySelector(".sentence").replaceChildren(shown(data.sentence));
  row.querySelector(".agent").textContent = data.agent;
  setTime(row.querySelector(".age time"), data.opened_at);
  const left = row.querySelector(".expiry time");
  left.dataset.time = "left-short";
  setTime(left, data.decide_by);
  row.querySelector(".escalated").hidden = !data.escalated;
  showClaim(row, data.claimed_by);
  const pick = row.querySelector(".pick");
  pick.disabled = !data.can_decide || data.risk === "high";
  pick.setAttribute("aria-label", `Select ${data.tool}: ${data.sentence}`);
  tick(row);
  tell("fill", row);
}

function showClaim(row, name) {
  const badge = row.querySelector(".claimed");
  badge.hidden = !name || name === document.body.dataset.name;
  badge.textContent = badge.hidden ? "" : name;
}

function comesBefore(row, data) {
  const rank = Number(row.dataset.rank);
  if (rank !== data.risk_rank) return rank > data.risk_rank;
  const opened = Date.parse(row.dataset.opened) - Date.parse(data.opened_at);
  return opened === 0 ? row.dataset.id < data.id : opened < 0;
}

// The row that `data` goes in front of; null for the end. The list is in order but for the rows that are astray.
function placeFor(data) {
  const rows = list.children;
  if (astray.size > 0) return all().find((row) => !comesBefore(row, data)) ?? null;
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (comesBefore(rows[middle], data)) low = middle + 1;
    else high = middle;
  }
  return rows[low] ?? null;
}

function put(data, place, isNew = false) {
  const row = blank.content.firstElementChild.cloneNode(true);
  fill(row, data);
  if (isNew) {
    row.classList.add("fresh");
    setTimeout(() => row.classList.remove("fresh"), FRESH);
  }
  list.insertBefore(row, place);
  byId.set(data.id, row);
  return row;
}

function insert(data, place) {
  const row = put(data, place, true);
  tell("change");
  return row;
}

// The rest of a long queue: nothing is new about it.
export function append(found) {
  for (const data of found) if (!isKnown(data.id)) put(data, placeFor(data));
  tell("change");
}

// Asked once for all rows that come together: each answer costs a layout.
function isElsewhere() {
  if (elsewhere === null) {
    elsewhere = !list.matches(":hover") && list.scrollTop === 0;
    setTimeout(() => { elsewhere = null; }, 0);
  }
  return elsewhere;
}

// Whether a row put in front of `place` would move a waiting call that somebody may be about to click.
function wouldDisturb(place) {
  if (isElsewhere()) return false;
  for (let row = place; row; row = row.nextElementSibling) if (isOpen(row)) return true;
  return false;
}

function arrive(data) {
  const place = placeFor(data);
  if (!wouldDisturb(place)) {
    insert(data, place);
  } else if (list.scrollHeight <= list.clientHeight) {
    // There is room below: it is seen at once and moves nothing. It goes to its place when the pointer has gone.
    astray.add(insert(data, null));
  } else {
    held.set(data.id, data);
    showNews();
    tell("change");
  }
}

function bringHome() {
  for (const row of astray) {
    if (row.contains(document.activeElement)) continue;
    row.remove();
    const { id, rank, opened } = row.dataset;
    list.insertBefore(row, placeFor({ id, risk_rank: Number(rank), opened_at: opened }));
    astray.delete(row);
  }
}

function showNews() {
  news.hidden = held.size === 0;
  news.textContent = held.size === 1 ? "1 new call: show it" : `${held.size} new calls: show them`;
}

export function letIn() {
  for (const data of held.values()) put(data, placeFor(data), true);
  held.clear();
  tell("change");
  showNews();
  list.scrollTop = 0;
}

// A call that waits: a new row, or the row of a call whose decision was taken back.
export function upsert(data) {
  const row = rowOf(data.id);
  if (row) {
    row.classList.remove("settled");
    settledAt.delete(row);
    fill(row, data);
    tell("change");
  } else {
    arrive(data);
  }
}

// A call that waits no more: its row stays, struck out, until nobody can be about to click there.
export function settle(id, state) {
  if (held.delete(id)) showNews();
  const row = rowOf(id);
  if (!row || row.dataset.state === state) return;
  row.dataset.state = state;
  kept.delete(row);
  row.classList.add("settled");
  const left = row.querySelector(".expiry time");
  delete left.dataset.time;
  left.classList.remove("soon");
  // An approval that was used is one all the same.
  left.textContent = state === "spent" ? "approved" : state;
  const pick = row.querySelector(".pick");
  pick.checked = false;
  pick.disabled = true;
  settledAt.set(row, performance.now());
  tell("change");
}

function sweep() {
  if (list.matches(":hover")) return;
  if (list.scrollTop === 0) bringHome();
  for (const [row, at] of settledAt) {
    if (row === selected || performance.now() - at < LINGER) continue;
    settledAt.delete(row);
    astray.delete(row);
    byId.delete(row.dataset.id);
    row.remove();
    tell("change");
  }
}

export function countNew() {
  return held.size;
}

export function startRows() {
  news.addEventListener("click", letIn);
  setInterval(sweep, 1000);
}
