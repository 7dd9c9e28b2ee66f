// The review queue: rows on the left, the selected call on the right, the feed keeps both current.

import "./app.js";
import { startBulk, togglePick } from "./bulk.js";
import { startClaims, toggle } from "./claims.js";
import * as decisions from "./decisions.js";
import * as detail from "./detail.js";
import { on as onFeed } from "./feed.js";
import { apply, focusFilter, snooze, startFilters } from "./filters.js";
import { startGuard } from "./guard.js";
import { startKeys } from "./keys.js";
import { gathered } from "./later.js";
import { showCount } from "./notify.js";
import { startPresence } from "./presence.js";
import { startReveals } from "./reveal.js";
import * as rows from "./rows.js";
import { getJSON } from "./server.js";

const ROWS = "/queue/rows.json";
const MOST = 2000;
const AGAIN = 2000;
const BURST = 100;
const SETTLED = 300;
// Of selections that follow each other so quickly, the last one opens its call.
const QUICK = 250;
const REST = 150;
// Rows put in at once: some 10 ms.
const CHUNK = 40;
const list = document.getElementById("rows");
const pane = document.getElementById("detail");
let total = Number(document.querySelector("[data-total]").textContent);
let asked = new Set();
let asking = false;

function isWide() {
  return getComputedStyle(pane).display !== "none";
}

const tellCount = gathered(() => showCount(total), 100);

function count(change) {
  total = Math.max(0, total + change);
  tellCount();
  // A long queue is not all on the page: fetch the rest when what is here is done.
  if (total > rows.countNew() && !rows.all().some((row) => row.dataset.state === "pending")) reload();
}

// The rows of calls that the feed named, all that came in the meantime in one request.
async function fetchAsked() {
  if (asking) return;
  asking = true;
  while (asked.size > 0) {
    const ids = [...asked].slice(0, 100);
    asked = new Set([...asked].slice(100));
    const { status, body } = await getJSON(`${ROWS}?${new URLSearchParams(ids.map((id) => ["id", id]))}`);
    if (status !== 200) {
      // What was named is not known: read everything, as soon as the server answers again.
      setTimeout(reload, AGAIN);
      break;
    }
    for (const data of body.rows) take(data);
    // A burst costs ten requests a second, not one for each call.
    await new Promise((resolve) => setTimeout(resolve, BURST));
  }
  asking = false;
}

function ask(id) {
  asked.add(id);
  fetchAsked();
}

function take(data) {
  const row = rows.rowOf(data.id);
  if (data.state !== "pending") {
    leave(data.id, data.state);
    return;
  }
  if (!rows.isKnown(data.id) || (row && row.dataset.state !== "pending")) count(1);
  rows.upsert(data);
  if (row && row === rows.current()) detail.refreshActions(row);
}

function leave(id, state) {
  const row = rows.rowOf(id);
  if (rows.isKnown(id) && row?.dataset.state !== state && (!row || row.dataset.state === "pending")) count(-1);
  rows.settle(id, state);
  if (row) detail.forget(row);
  if (row && row === rows.current()) detail.refreshActions(row);
}

function entry({ topic, id, facts }) {
  if (topic !== "gate") return;
  if (facts.state !== "pending") leave(id, facts.state);
  else ask(id);
}

async function reload() {
  const { status, body } = await getJSON(`${ROWS}?limit=${MOST}`);
  if (status !== 200) {
    // Signed out or no longer a reviewer: asking again changes nothing.
    if (status === 0 || status >= 500) setTimeout(reload, AGAIN);
    return;
  }
  const waiting = new Set(body.rows.map((data) => data.id));
  const complete = body.rows.length === body.total;
  for (const row of rows.all()) {
    const gone = complete && row.dataset.state === "pending" && !waiting.has(row.dataset.id);
    if (gone) rows.settle(row.dataset.id, "closed");
  }
  for (const data of body.rows) rows.upsert(data);
  total = body.total;
  showCount(total);
}

// The rest of a long queue, a chunk whenever the browser has nothing better to do; the filter then sees all of it.
async function fetchRest() {
  const more = document.getElementById("more");
  if (!more) return;
  let last = rows.all().at(-1)?.dataset.id;
  while (last && rows.all().length < MOST) {
    await idle();
    const { status, body } = await getJSON(`${ROWS}?${new URLSearchParams({ after: last })}`);
    if (status !== 200) return;
    if (body.rows.length === 0) break;
    last = body.rows.at(-1).id;
    for (let at = 0; at < body.rows.length; at += CHUNK) {
      await idle();
      rows.append(body.rows.slice(at, at + CHUNK));
    }
  }
  more.hidden = rows.all().length < MOST;
}

function idle() {
  return new Promise((resolve) => {
    if ("requestIdleCallback" in window) requestIdleCallback(() => resolve(), { timeout: 1000 });
    else setTimeout(resolve, 50);
  });
}

function decided(id, { kind, state }) {
  const row = rows.rowOf(id);
  if (!row) return;
  if (kind === "undo" || (kind && state === "pending")) {
    ask(id);
    return;
  }
  const wasCurrent = row === rows.current();
  if (state && state !== "pending" && row.dataset.state === "pending") {
    rows.settle(id, state);
    count(-1);
  }
  // One's own decision opens the next call; somebody else's is shown where it was read.
  if (kind && wasCurrent) {
    const next = rows.neighbour(1) ?? rows.neighbour(-1);
    // Whoever types elsewhere stays there.
    const isHere = document.activeElement.closest("#rows, #detail") !== null;
    if (next) rows.select(next, { focus: isHere });
    else detail.refreshActions(row);
  } else if (wasCurrent) {
    detail.refreshActions(row);
  }
}

// The call of a row in the pane; again where it could not be fetched.
function show(row) {
  if (row !== rows.current()) rows.select(row);
  else if (detail.shownId() !== row.dataset.id) detail.open(row);
}

function click(event) {
  const link = event.target.closest(".row a");
  if (!link || !isWide() || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  const row = link.closest(".row");
  // By Enter.
  if (event.detail === 0) detail.follow(row.dataset.id);
  show(row);
}

function onShown(run) {
  return () => {
    const row = rows.current();
    if (row && detail.shownId() === row.dataset.id) run(row);
  };
}

const TABLE = [
  { name: "down", keys: ["j", "J", "ArrowDown"], label: "J", does: "next call", run: () => rows.move(1) },
  { name: "up", keys: ["k", "K", "ArrowUp"], label: "K", does: "previous call", run: () => rows.move(-1) },
  { name: "approve", keys: ["a", "A"], label: "A", does: "approve", guarded: true, run: onShown(decisions.approve) },
  { name: "reject", keys: ["r", "R"], label: "R", does: "reject, with a reason", guarded: true, run: onShown(decisions.reject) },
  { name: "send", keys: [], label: "Ctrl+Enter", does: "send the rejection" },
  { name: "edit", keys: ["e", "E"], label: "E", does: "edit the arguments", run: onShown(() => pane.querySelector("[data-key-target=edit]")?.click()) },
  { name: "respond", keys: ["m", "M"], label: "M", does: "answer the agent in the tool's place", run: onShown(() => decisions.openWay("respond")) },
  { name: "ask", keys: ["q", "Q"], label: "Q", does: "ask the submitter", run: onShown(() => decisions.openWay("ask")) },
  { name: "claim", keys: ["c", "C"], label: "C", does: "claim the call, take it over, or give it up", run: onShown(toggle) },
  { name: "undo", keys: ["z", "Z"], label: "Z", does: "take the last decision back", run: decisions.undoLast },
  { name: "pick", keys: ["x", "X"], label: "X", does: "select for a decision together", run: () => togglePick(rows.current()) },
  { name: "snooze", keys: ["h", "H"], label: "H", does: "snooze for an hour, or wake", run: () => asleep(rows.current()) },
  { name: "trace", keys: ["o", "O"], label: "O", does: "open the job", run: () => pane.querySelector("[data-key-target=trace]")?.click() },
  { name: "filter", keys: ["/"], label: "/", does: "filter", run: focusFilter },
  { name: "new", keys: ["n", "N"], label: "N", does: "show new calls", run: rows.letIn },
];

async function asleep(row) {
  if (!row) return;
  const next = rows.neighbour(1) ?? rows.neighbour(-1);
  if ((await snooze(row)) && next && row === rows.current()) rows.select(next, { focus: true });
}

function openFirst() {
  const asked = new URLSearchParams(location.search).get("gate");
  const row = (asked && rows.rowOf(asked)) || rows.all().find(rows.isOpen);
  if (row && isWide()) rows.select(row);
}

// The address names the call once the reader stays with it: a change costs more than a key may.
let noting = 0;
function noteAddress(id) {
  clearTimeout(noting);
  noting = setTimeout(() => history.replaceState(null, "", `?gate=${id}`), SETTLED);
}

let selectedAt = -Infinity;
let opening = 0;
function openSoon(row) {
  const now = performance.now();
  const isQuick = now - selectedAt < QUICK;
  selectedAt = now;
  clearTimeout(opening);
  const open = () => detail.open(row).then(() => detail.prefetch(rows.neighbour(1)));
  if (!isQuick) {
    open();
    return;
  }
  detail.leave(row.dataset.id);
  opening = setTimeout(open, REST);
}

rows.startRows();
startFilters();
startGuard();
decisions.startDecisions();
decisions.onDecided(decided);
startBulk((id, state) => decided(id, { kind: null, state }));
startPresence((id) => [rows.rowOf(id), detail.articleOf(id)].filter(Boolean));
startReveals();
startClaims((id) => { if (rows.rowOf(id)) ask(id); });
startKeys(TABLE, decisions.mayAct);
rows.on("select", (row) => {
  noteAddress(row.dataset.id);
  openSoon(row);
});
list.addEventListener("click", click);
onFeed("entry", entry);
onFeed("reset", reload);
onFeed("back", () => {
  if (rows.current()) show(rows.current());
});
apply();
openFirst();
fetchRest();
