// The right pane: the selected call in full, as the server renders it.

import { showing } from "./claims.js";
import * as decisions from "./decisions.js";
import { looking } from "./feed.js";
import { disarm } from "./guard.js";
import { noteParts, refreshParts } from "./parts.js";
import { showLookers } from "./presence.js";
import { adopt, getPage } from "./server.js";
import { tick } from "./times.js";
import { toast } from "./toasts.js";

const pane = document.getElementById("detail");
const nothing = document.getElementById("nothing");
const KEPT = 4;
const ahead = new Map();
let wanted = null;
let followed = null;

function fetchPart(url) {
  return getPage(`${url}?part=1`);
}

export function articleOf(id) {
  const article = pane.querySelector("article");
  return article?.dataset.id === id ? article : null;
}

export function shownId() {
  const article = pane.querySelector("article");
  return article && article.getAttribute("aria-busy") !== "true" ? article.dataset.id : null;
}

function put(article) {
  const before = pane.querySelector("article");
  if (before !== article) {
    before?.remove();
    if (article) pane.append(article);
  }
  nothing.hidden = article !== null;
  pane.scrollTop = 0;
  if (article) noteParts(article);
  decisions.attach(article);
  showing(article);
  disarm();
  if (!article) return;
  tick(article);
  showLookers(article);
  if (followed === article.dataset.id) follow(followed);
  followed = null;
}

// Focuses a call, as soon as it is there.
export function follow(id) {
  followed = shownId() === id ? null : id;
  if (followed === null) pane.querySelector("#sentence").focus({ preventScroll: true });
}

export function clear() {
  wanted = null;
  looking("");
  put(null);
}

export function prefetch(row) {
  const url = row?.querySelector("a").href;
  if (!url || ahead.has(url)) return;
  ahead.set(url, fetchPart(url));
  for (const old of [...ahead.keys()].slice(0, -KEPT)) ahead.delete(old);
}

export function forget(row) {
  ahead.delete(row.querySelector("a").href);
}

// The call that came with the page: nothing has to be fetched for it.
function isThere({ id, state }) {
  const article = pane.querySelector("article");
  return wanted === null && article?.dataset.id === id && article.dataset.state === state;
}

// Another call is about to be opened: what is still on show is not to be decided by a key or click meant for that one.
export function leave(id) {
  wanted = id;
  decisions.attach(null);
  pane.querySelector("article")?.setAttribute("aria-busy", "true");
}

export async function open(row) {
  const url = row.querySelector("a").href;
  const { id } = row.dataset;
  const there = isThere(row.dataset);
  looking(id);
  if (there) {
    wanted = id;
    put(pane.querySelector("article"));
    return;
  }
  leave(id);
  const { status, page } = await (ahead.get(url) ?? fetchPart(url));
  ahead.delete(url);
  if (wanted !== id) return;
  const article = page?.querySelector("article");
  if (status !== 200 || !article) {
    clear();
    toast("This call can't be shown at the moment. Choose it again in a moment.", { bad: true });
    return;
  }
  put(adopt(article));
}

// The call on show was decided, claimed or talked about: what stands beside it is out of date, its text is not.
export async function refreshActions(row) {
  const { id } = row.dataset;
  forget(row);
  const { status, page } = await fetchPart(row.querySelector("a").href);
  const present = pane.querySelector("article");
  const fresh = page?.querySelector("article");
  if (status !== 200 || !fresh || present?.dataset.id !== id || wanted !== id) return;
  if (refreshParts(present, fresh)) decisions.attach(present);
}
