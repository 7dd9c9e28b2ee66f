// The count in title and header, and browser notices. A notice never tells what the call would do.

import { on } from "./feed.js";
import { getJSON } from "./server.js";
import { recall } from "./store.js";
import { serverNow } from "./times.js";

export const WANTED = "notify";
const PAUSE = 2000;
const { quiet, reviewer } = document.body.dataset;
const isQueue = document.querySelector("[data-total]") !== null;
const name = document.title.replace(/^\(\d+\) /, "");
const told = new Set();
let fresh = new Set();
let timer = 0;

export function showCount(count) {
  if (isQueue) document.title = count > 0 ? `(${count}) ${name}` : name;
  for (const place of document.querySelectorAll("[data-total], [data-pending-count]")) place.textContent = String(count);
}

export function wantsNotices() {
  return "Notification" in window && Notification.permission === "granted" && recall(WANTED, false) === true;
}

// Quiet hours come as "22:00 07:00 Europe/Stockholm": times of day in that zone, which may run over midnight.
function isQuiet() {
  if (!quiet) return false;
  const [from, to, zone] = quiet.split(" ");
  try {
    const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(serverNow());
    return from < to ? clock >= from && clock < to : clock >= from || clock < to;
  } catch {
    return false;
  }
}

function notice(row) {
  if (told.has(row.id) || row.state !== "pending" || !row.can_decide || row.asleep_until) return;
  told.add(row.id);
  const body = `${row.tool} (${row.risk} risk), asked by ${row.agent}`;
  // One of several open tabs is enough: the browser replaces a notice by another of the same tag.
  const shown = new Notification("A call waits for a decision", { body, tag: row.id });
  shown.addEventListener("click", () => {
    window.focus();
    location.assign(row.url);
  });
}

async function look() {
  timer = 0;
  const ids = [...fresh].slice(0, 50);
  fresh = new Set();
  const ask = document.hidden && wantsNotices() && !isQuiet() ? ids : [];
  if (isQueue && ask.length === 0) return;
  const { status, body } = await getJSON(`/queue/rows.json?limit=1&${new URLSearchParams(ask.map((id) => ["id", id]))}`);
  if (status !== 200) return;
  if (!isQueue) showCount(body.total);
  if (ask.length > 0) for (const row of body.rows) notice(row);
}

export function startNotices() {
  if (reviewer === undefined) return;
  on("entry", ({ topic, id, facts }) => {
    if (topic !== "gate") return;
    // New, or called for a second group: whoever may decide it only now hears of it now.
    if (facts.state === "pending" && (facts.version === 1 || facts.escalated)) fresh.add(id);
    timer ||= setTimeout(look, PAUSE);
  });
}
