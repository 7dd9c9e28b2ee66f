// A call on a page of its own: decided here, then back to the queue.

import "./app.js";
import * as decisions from "./decisions.js";
import { looking, on as onFeed } from "./feed.js";
import { startGuard } from "./guard.js";
import { startKeys } from "./keys.js";
import { startPresence } from "./presence.js";

const article = document.getElementById("gate");

startGuard();
decisions.startDecisions();
decisions.attach(article);
// Decided here or elsewhere: the page shows how it stands.
decisions.onDecided(() => location.reload());
startPresence();
looking(article.dataset.id);
onFeed("entry", ({ topic, id, facts }) => {
  if (topic === "gate" && id === article.dataset.id && facts.state !== article.dataset.state) location.reload();
});
startKeys([
  { name: "approve", keys: ["a", "A"], label: "A", does: "approve", guarded: true, run: decisions.approve },
  { name: "reject", keys: ["r", "R"], label: "R", does: "reject, with a reason", guarded: true, run: decisions.reject },
  { name: "send", keys: [], label: "Ctrl+Enter", does: "send the rejection" },
  { name: "edit", keys: ["e", "E"], label: "E", does: "edit the arguments", run: () => article.querySelector("[data-key-target=edit]")?.click() },
  { name: "trace", keys: ["o", "O"], label: "O", does: "open the job", run: () => article.querySelector("[data-key-target=trace]")?.click() },
], decisions.mayAct);
