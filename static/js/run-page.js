// A run's page: follows the run while it moves; its steps, its timeline or both; from one approval to the next.

import "./app.js";
import { on } from "./feed.js";
import { showBadges, startKeys } from "./keys.js";
import { refresher } from "./refresh.js";
import { recall, remember } from "./store.js";
import { toast } from "./toasts.js";

const VIEWS = ["both", "tree", "timeline"];
const VIEW = "run-view";
const run = document.getElementById("run");
const id = run.dataset.run;

async function copyLink() {
  const address = location.origin + location.pathname;
  try {
    await navigator.clipboard.writeText(address);
    toast("The link is copied.");
  } catch {
    // No permission, or a page that is not served over HTTPS.
    toast(`This browser does not let the page copy. The link is ${address}`);
  }
}

function view() {
  return run.dataset.view ?? "both";
}

function look(wanted) {
  if (wanted === "both" || !VIEWS.includes(wanted)) delete run.dataset.view;
  else run.dataset.view = wanted;
  for (const button of run.querySelectorAll("button[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view()));
  }
}

function choose(wanted) {
  look(wanted);
  remember(VIEW, view());
}

// The head of the page is fetched anew while the run moves: what only scripts can do is offered in it again.
function offer() {
  look(view());
  run.querySelector("[data-views]").hidden = false;
  run.querySelector("[data-copy-link]").hidden = false;
  showBadges();
}

// What waits stands above the steps; what is decided stands in them.
function step(direction) {
  const all = run.querySelectorAll('.wait, .call[data-approval]:not([data-state="gated"])');
  const stops = [...all].filter((stop) => stop.checkVisibility());
  if (stops.length === 0) {
    toast(view() === "timeline" ? "No approval waits. Those that are over stand in the steps." : "Nothing in this job needed an approval.");
    return;
  }
  const at = stops.findIndex((stop) => stop.contains(document.activeElement));
  const from = at < 0 && direction < 0 ? 0 : at;
  const next = stops[(from + direction + stops.length) % stops.length];
  next.scrollIntoView({ block: "center" });
  (next.querySelector("summary, a") ?? next).focus({ preventScroll: true });
}

const refresh = refresher("#run", offer);
on("entry", (entry) => {
  if (entry.topic === "run" ? entry.id === id : entry.facts?.run === id) refresh();
});
on("reset", refresh);
on("back", refresh);
run.addEventListener("click", ({ target }) => {
  if (target.closest("[data-copy-link]")) copyLink();
  const button = target.closest("button[data-view]");
  if (button) choose(button.dataset.view);
});
look(recall(VIEW));
startKeys([
  { name: "next", keys: ["]"], label: "]", does: "next approval", run: () => step(1) },
  { name: "previous", keys: ["["], label: "[", does: "previous approval", run: () => step(-1) },
  { name: "view", keys: ["t", "T"], label: "T", does: "the steps, the timeline, or both", run: () => choose(VIEWS[(VIEWS.indexOf(view()) + 1) % VIEWS.length]) },
  { name: "link", keys: ["y", "Y"], label: "Y", does: "copy the link", run: copyLink },
]);
offer();
