// Soft claims: whoever reads a call for a moment claims it, others are told, and nobody is kept from deciding.

import { on } from "./feed.js";
import { getJSON, postForm } from "./server.js";
import { toast } from "./toasts.js";

const DWELL = 1500;
const HEARTBEAT = 40_000;
const me = Number(document.body.dataset.person);
let article = null;
let dwell = 0;
let pulse = 0;

function form() {
  return article?.querySelector("form[data-claim]") ?? null;
}

function show({ by, mine, taken_from: from }) {
  const place = article?.querySelector("#claim");
  if (!place) return;
  place.dataset.mine = mine ? "yes" : "no";
  place.dataset.by = by;
  const text = place.querySelector("[data-claim-text]");
  const name = document.createElement("b");
  name.textContent = by;
  if (mine) text?.replaceChildren(from ? `You have claimed this, taken over from ${from}.` : "You have claimed this.");
  else if (by) text?.replaceChildren(name, " has claimed this. You can still decide.");
  else text?.replaceChildren();
  const own = form();
  if (!own) return;
  own.action = mine ? own.dataset.releaseUrl : own.dataset.claimUrl;
  own.querySelector("[data-claim-button]").textContent = mine ? "Give it up" : by ? "Take it over" : "Claim it";
}

async function send(url, fields, quiet) {
  const shown = article;
  const { status, body } = await postForm(url, fields);
  if (shown !== article) return;
  if (status === 200) show(body);
  else if (!quiet) toast(body.error ?? "That did not work. Nothing was changed.", { bad: true });
}

function renew() {
  const own = form();
  const place = article?.querySelector("#claim");
  if (!own || document.hidden || article.dataset.state !== "pending") return;
  // Not over somebody else's, and not after one's own was given up.
  if (place.dataset.by && place.dataset.mine !== "yes") return;
  if (place.dataset.givenUp) return;
  send(own.dataset.claimUrl, { take: "0" }, true);
}

function leave() {
  clearTimeout(dwell);
  clearInterval(pulse);
  const own = form();
  if (own && article.querySelector("#claim").dataset.mine === "yes" && article.dataset.state === "pending") {
    postForm(own.dataset.releaseUrl, {}, { keepalive: true });
  }
}

// The call that is on show now, or null.
export function showing(shown) {
  if (shown === article) return;
  leave();
  article = shown;
  if (!article) return;
  dwell = setTimeout(renew, DWELL);
  pulse = setInterval(renew, HEARTBEAT);
}

// The key C: claim, take over, or give up.
export function toggle() {
  const own = form();
  if (!own) return;
  const place = article.querySelector("#claim");
  const mine = place.dataset.mine === "yes";
  if (mine) place.dataset.givenUp = "yes";
  else delete place.dataset.givenUp;
  send(mine ? own.dataset.releaseUrl : own.dataset.claimUrl, { take: "1" }, false);
}

async function heard({ id, facts }) {
  const { status, body } = await getJSON(`/queue/${id}/claim/`);
  if (status !== 200) return;
  if (article?.dataset.id === id) show(body);
  if (facts.was === me && facts.by !== me && facts.by) toast(`${body.by} took over ${facts.tool}, which you had claimed.`);
}

// `onChange(gateId)` when the claim of a call is another one than before.
export function startClaims(onChange = () => {}) {
  on("entry", (entry) => {
    if (entry.topic !== "claim") return;
    const { id, facts } = entry;
    const shown = article?.dataset.id === id;
    // One's own claim of the call on show was answered to this page already.
    if (facts.by === me && shown) return;
    onChange(id);
    if (shown || (facts.was === me && facts.by)) heard(entry);
  });
  document.addEventListener("submit", (event) => {
    if (event.target !== form()) return;
    event.preventDefault();
    toggle();
  });
  addEventListener("pagehide", leave);
}
