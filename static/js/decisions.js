// Deciding one call: the buttons and keys of the action bar, the confirmation of high risk, the undo inside the hold.

import { disarm, isArmed, onDisarm } from "./guard.js";
import { showBadges } from "./keys.js";
import { watchReading } from "./reading.js";
import { postForm } from "./server.js";
import { serverNow } from "./times.js";
import { toast } from "./toasts.js";

const WORDS = { approve: "Approved", reject: "Rejected", respond: "Answered" };
const DOING = { approve: "Approving…", reject: "Rejecting…", respond: "Sending the answer…" };
let article = null;
let form = null;
let unread = 0;
let busy = false;
let lastUndo = null;
// The decision that is on its way: whether it was taken, as soon as that is known.
let sending = null;
let finished = () => {};

function actions() {
  return article?.querySelector("#actions");
}

function hint(text) {
  const place = article?.querySelector("[data-hint]");
  if (place) place.textContent = text;
}

function isHigh() {
  return article?.dataset.risk === "high";
}

function showButtons() {
  if (!form) return;
  const blocked = busy || !isArmed();
  const [approve, reject] = [form.querySelector(".approve"), form.querySelector(".refuse")];
  approve.setAttribute("aria-disabled", String(blocked || (isHigh() && unread > 0)));
  reject.setAttribute("aria-disabled", String(blocked));
}

function showReading(left) {
  unread = left;
  if (isHigh()) hint(left > 0 ? "High risk: scroll through the text to its end, then Approve opens." : "Read to the end.");
  showButtons();
}

// Takes the article of a call into its care; `null` when there is none.
export function attach(shownArticle) {
  article = shownArticle;
  form = article?.querySelector("#decide") ?? null;
  busy = false;
  unread = 0;
  if (!article) return;
  actions().classList.add("scripted");
  showBadges();
  actions().addEventListener("submit", say);
  actions().addEventListener("toggle", disarm, true);
  if (!form) return;
  for (const presets of form.querySelectorAll("[data-presets]")) presets.hidden = false;
  form.addEventListener("submit", submit);
  form.addEventListener("click", preset);
  actions().addEventListener("keydown", inReason);
  if (isHigh()) watchReading(article, showReading);
  showButtons();
}

// The reason box opens and closes; while it is open its own key sends the rejection. The bar has moved: no click meant
// for what stood there before counts.
function showReason(open) {
  actions().classList.toggle("rejecting", open);
  form.querySelector(".refuse kbd").dataset.badge = open ? "send" : "reject";
  showBadges();
  disarm();
}

function preset(event) {
  const button = event.target.closest("[data-preset]");
  if (!button) return;
  const reason = form.elements.reason;
  reason.value = button.dataset.preset;
  reason.focus();
}

// Ctrl+Enter sends what is typed, Escape puts it away.
function inReason(event) {
  const way = event.target.closest("details[data-way]");
  const isSent = event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat;
  if (event.key === "Escape" && way) {
    closeWay(way);
  } else if (event.key === "Escape" && event.target.form === form) {
    showReason(false);
    form.querySelector(".refuse").focus();
  } else if (isSent && event.target.matches("textarea")) {
    event.preventDefault();
    if (event.target.name === "answer") respond();
    // A question to the submitter is no decision.
    else if (event.target.form !== form) event.target.form.requestSubmit();
    else if (isArmed()) send("reject");
  }
}

function submit(event) {
  event.preventDefault();
  if (event.submitter?.value === "approve") approve();
  else if (event.submitter?.value === "reject") reject();
  else if (event.submitter?.value === "respond") respond();
}

function respond() {
  if (!mayAct()) return;
  if (form.elements.answer.value.trim()) send("respond");
  else hint("Write what the agent should be told first.");
}

// Opens one of the other ways to deal with the call ("respond", "ask"), ready to be typed into; or closes it.
export function openWay(name) {
  const way = actions()?.querySelector(`details[data-way="${name}"]`);
  if (!way) return;
  if (way.open) {
    closeWay(way);
    return;
  }
  way.open = true;
  disarm();
  way.querySelector("textarea").focus();
}

function closeWay(way) {
  way.open = false;
  disarm();
  way.querySelector("summary").focus();
}

async function say(event) {
  const sent = event.target;
  if (!sent.matches("form[data-say]")) return;
  event.preventDefault();
  const { status, body } = await postForm(sent.action, Object.fromEntries(new FormData(sent)));
  if (status === 200) {
    sent.reset();
    // Under the same key it would be the same question.
    sent.elements.idempotency_key.value = crypto.randomUUID();
    closeWay(sent.closest("details"));
    toast("Asked. The answer appears with the call.");
  } else {
    toast(body.error ?? "That did not work. Nothing was asked.", { bad: true });
  }
}

export function mayAct() {
  if (!form || busy) return false;
  if (isArmed()) return true;
  hint("Too quick after the change: nothing was decided.");
  return false;
}

export function approve() {
  if (!mayAct()) return;
  if (!isHigh()) send("approve");
  else if (unread === 0) confirmHigh();
  else hint("Scroll through the text to its end first.");
}

export function reject() {
  if (!mayAct()) return;
  if (actions().classList.contains("rejecting")) {
    send("reject");
    return;
  }
  showReason(true);
  form.elements.reason.focus();
}

function confirmHigh() {
  const dialog = document.getElementById("confirm-high");
  const name = dialog.querySelector("#confirm-name");
  const button = dialog.querySelector(".approve");
  const { tool, id } = article.dataset;
  dialog.querySelector("[data-tool]").textContent = tool;
  dialog.querySelector("[data-sentence]").textContent = article.querySelector("#sentence").textContent;
  name.value = "";
  button.disabled = true;
  name.oninput = () => {
    button.disabled = name.value.trim() !== tool;
  };
  // Enter in the field presses the form's first enabled button: never Cancel by accident, never Approve unnamed.
  name.onkeydown = (event) => {
    if (event.key === "Enter" && (button.disabled || event.repeat)) event.preventDefault();
  };
  dialog.onclose = () => {
    const same = article?.dataset.id === id;
    if (dialog.returnValue === "approve" && same && name.value.trim() === tool) send("approve", { confirm: tool });
    disarm();
  };
  dialog.returnValue = "";
  dialog.showModal();
  name.focus();
}

function send(kind, more = {}) {
  const own = deliver(kind, more).finally(() => {
    if (sending === own) sending = null;
  });
  sending = own;
}

async function deliver(kind, more) {
  busy = true;
  showButtons();
  hint(DOING[kind]);
  const gate = { id: article.dataset.id, tool: article.dataset.tool };
  const own = form;
  const fields = Object.fromEntries(new FormData(form));
  const { status, body } = await postForm(form.action, { ...fields, ...more, kind });
  if (own === form) busy = false;
  showButtons();
  if (status === 200) {
    done(gate, kind, body);
    return true;
  }
  if (own === form) hint(body.error ?? "That did not work. Nothing was decided.");
  toast(body.error ?? "That did not work. Nothing was decided.", { bad: true });
  // 409: somebody or the clock was first; 403: this person may not decide it. What is shown is out of date.
  if (status === 409 || status === 403) finished(gate.id, { kind: null, state: body.state ?? null });
  return false;
}

function done(gate, kind, body) {
  finished(gate.id, { kind, state: body.state });
  const until = body.hold_until ? Date.parse(body.hold_until) : 0;
  if (until > serverNow() && body.undo) offerUndo(gate, kind, body, until);
  else toast(body.message ?? `${WORDS[kind]}: ${gate.tool}.`);
}

function offerUndo(gate, kind, body, until) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Undo (Z)";
  const bar = document.createElement("progress");
  bar.setAttribute("aria-hidden", "true");
  const action = document.createDocumentFragment();
  action.append(bar, button);
  const total = until - serverNow();
  const shown = toast(`${WORDS[kind]} ${gate.tool}`, { seconds: total / 1000, action });
  bar.max = total;
  const timer = setInterval(() => {
    bar.value = Math.max(0, until - serverNow());
    if (bar.value === 0) clearInterval(timer);
  }, 100);
  bar.value = total;
  const undo = async () => {
    if (lastUndo !== undo) return;
    lastUndo = null;
    shown.close();
    const { status, body: answer } = await postForm(body.undo, {});
    toast(status === 200 ? `Taken back: ${gate.tool} waits again.` : answer.error, { bad: status !== 200 });
    if (status === 200) finished(gate.id, { kind: "undo", state: answer.state });
  };
  lastUndo = undo;
  button.addEventListener("click", undo);
  setTimeout(() => {
    if (lastUndo === undo) lastUndo = null;
  }, total);
}

export async function undoLast() {
  // One that is still on its way is the last one. Where that is not taken, the one before it was not meant.
  if (sending && !(await sending)) return;
  if (lastUndo) lastUndo();
  else toast("There is nothing to take back any more.");
}

// `callback(gateId, {kind, state})` after each decision; `kind` is null when somebody else's decision stands.
export function onDecided(callback) {
  finished = callback;
}

export function startDecisions() {
  let timer = 0;
  onDisarm((quiet) => {
    showButtons();
    clearTimeout(timer);
    timer = setTimeout(() => {
      showButtons();
      if (article?.querySelector("[data-hint]")?.textContent.startsWith("Too quick")) hint("");
    }, quiet + 5);
  });
}
