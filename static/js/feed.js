// The one WebSocket: numbered entries of the tenant's feed, presence, and what to do when the line is down.

import { duration } from "./times.js";

const FIRST_DELAY = 500;
const LONGEST_DELAY = 30_000;
const SETTLED = 5000;
// All pages of a tenant fall behind at once, and read again within so many milliseconds.
const SPREAD = 2000;
const { tenant, feed } = document.body.dataset;
const listeners = { entry: [], reset: [], presence: [], back: [] };
const away = document.getElementById("away");
const dot = document.getElementById("connection");
const STATES = { live: "connected", away: "reconnecting", off: "not connected" };

let socket = null;
let last = feed === undefined ? null : Number(feed);
let tries = 0;
let downSince = 0;
let subject = "";
let pulse = 0;
let countdown = 0;
let retry = 0;
let spread = 0;
let leaving = false;
let wasLive = false;

export function on(kind, listener) {
  listeners[kind].push(listener);
}

function tell(kind, message) {
  for (const listener of listeners[kind]) listener(message);
}

function show(state) {
  if (!dot) return;
  dot.dataset.state = state;
  const words = `Live updates: ${STATES[state]}`;
  dot.title = words;
  dot.firstElementChild.textContent = words;
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

// Which subject this person looks at now; the others on this tenant's feed are told.
export function looking(at) {
  subject = at;
  send({ type: "looking", subject });
}

function hello(message) {
  if (last === null) last = message.number;
  const again = wasLive;
  wasLive = true;
  away.hidden = true;
  clearInterval(countdown);
  show("live");
  clearInterval(pulse);
  // A look is forgotten when it is not renewed; without one the line is kept alive by a ping.
  pulse = setInterval(() => (subject ? looking(subject) : send({ type: "ping" })), (message.heartbeat ?? 25) * 1000);
  if (subject) looking(subject);
  if (again) tell("back", message);
}

function receive(message) {
  switch (message.type) {
    case "hello":
      hello(message);
      break;
    case "entry":
      // A repeated number was handled already.
      if (last !== null && message.number <= last) return;
      last = message.number;
      tell("entry", message);
      break;
    case "reset":
      last = message.number;
      // Nothing more comes to a page that fell behind until it says that it has read this far.
      send({ type: "ping" });
      clearTimeout(spread);
      spread = setTimeout(() => tell("reset", message), Math.random() * SPREAD);
      break;
    case "presence":
      tell("presence", message);
      break;
    default:
  }
}

function lost(code) {
  show("away");
  clearInterval(pulse);
  clearInterval(countdown);
  if (leaving) return;
  if (code === 4403 || code === 4401) {
    away.textContent = "You no longer have access to this tenant's live updates. Load the page again.";
    away.hidden = false;
    return;
  }
  // About an eighth of the time that the line has been down: after half a minute it is back within five seconds.
  if (tries === 0) downSince = Date.now();
  const wait = Math.max(FIRST_DELAY, (Date.now() - downSince) / 8);
  const delay = Math.min(wait, LONGEST_DELAY) * (0.75 + Math.random() / 2);
  tries += 1;
  const next = Date.now() + delay;
  const why = code === 4429 ? "You have too many pages with live updates open: close some." : "No live updates at the moment.";
  const say = () => {
    // The first retry comes at once: no banner for a hiccup.
    if (tries < 2) return;
    away.hidden = false;
    away.textContent = `${why} What you see may be old. Next try in ${duration((next - Date.now()) / 1000)}.`;
  };
  say();
  countdown = setInterval(say, 1000);
  retry = setTimeout(connect, delay);
}

function connect() {
  clearTimeout(retry);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const after = last === null ? "" : `&after=${last}`;
  socket = new WebSocket(`${scheme}://${location.host}/ws/feed/?tenant=${tenant}${after}`);
  let settle = 0;
  socket.addEventListener("open", () => {
    settle = setTimeout(() => { tries = 0; }, SETTLED);
  });
  socket.addEventListener("message", (event) => receive(JSON.parse(event.data)));
  socket.addEventListener("close", (event) => {
    clearTimeout(settle);
    lost(event.code);
  });
}

export function startFeed() {
  if (!tenant || socket) return;
  connect();
  addEventListener("pagehide", () => {
    leaving = true;
    // One that is still being opened goes with the page, without a complaint in the console.
    if (socket?.readyState === WebSocket.OPEN) socket.close();
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    leaving = false;
    connect();
  });
  addEventListener("online", () => {
    if (socket.readyState === WebSocket.CLOSED) connect();
  });
}
