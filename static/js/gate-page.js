// A call on a page of its own: decided here, then back to the queue.

import "./app.js";
import { showing, startClaims, toggle } from "./claims.js";
import * as decisions from "./decisions.js";
import { looking, on as onFeed } from "./feed.js";
import { startGuard } from "./guard.js";
import { startKeys } from "./keys.js";
import { noteParts, refreshParts } from "./parts.js";
import { startPresence } from "./presence.js";
import { startReveals } from "./reveal.js";
import { getPage } from "./server.js";

const article = document.getElementById("gate");

async function refresh() {
  const { status, page } = await getPage(location.href);
  const fresh = status === 200 ? page?.querySelector("article") : null;
  if (fresh && refreshParts(article, fresh)) decisions.attach(article);
}

startGuard();
noteParts(article);
decisions.startDecisions();
decisions.attach(article);
// Decided here or elsewhere: the page shows how it stands.
decisions.onDecided(() => location.reload());
startPresence((id) => (id === article.dataset.id ? [article] : []));
startReveals();
startClaims();
showing(article);
looking(article.dataset.id);
onFeed("entry", ({ topic, id, facts }) => {
  if (topic !== "gate" || id !== article.dataset.id) return;
  if (facts.state === article.dataset.state) refresh();
  else location.reload();
});
startKeys([
  { name: "approve", keys: ["a", "A"], label: "A", does: "approve", guarded: true, run: decisions.approve },
  { name: "reject", keys: ["r", "R"], label: "R", does: "reject, with a reason", guarded: true, run: decisions.reject },
  { name: "send", keys: [], label: "Ctrl+Enter", does: "send the rejection" },
  { name: "edit", keys: ["e", "E"], label: "E", does: "edit the arguments", run: () => article.querySelector("[data-key-target=edit]")?.click() },
  { name: "respond", keys: ["m", "M"], label: "M", does: "answer the agent in the tool's place", run: () => decisions.openWay("respond") },
  { name: "ask", keys: ["q", "Q"], label: "Q", does: "ask the submitter", run: () => decisions.openWay("ask") },
  { name: "claim", keys: ["c", "C"], label: "C", does: "claim the call, take it over, or give it up", run: toggle },
  { name: "trace", keys: ["o", "O"], label: "O", does: "open the job", run: () => article.querySelector("[data-key-target=trace]")?.click() },
], decisions.mayAct);
