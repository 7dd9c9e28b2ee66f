// A run's page: follows the run while it moves.

import "./app.js";
import { on } from "./feed.js";
import { showBadges, startKeys } from "./keys.js";
import { refresher } from "./refresh.js";
import { toast } from "./toasts.js";

const id = document.getElementById("run").dataset.run;

async function copyLink() {
  await navigator.clipboard.writeText(location.href);
  toast("The link is copied.");
}

function offerLink() {
  const button = document.querySelector("[data-copy-link]");
  if (!button || !navigator.clipboard) return;
  button.hidden = false;
  showBadges();
}

function step(direction) {
  const stops = [...document.querySelectorAll(".wait, .call:has(.state.waiting)")];
  const at = stops.findIndex((stop) => stop.contains(document.activeElement));
  const next = stops.at((at + direction + stops.length) % stops.length);
  next?.scrollIntoView({ block: "center" });
  next?.querySelector("a, summary")?.focus();
}

const refresh = refresher("#run", offerLink);
on("entry", (entry) => {
  if (entry.topic === "run" ? entry.id === id : entry.facts?.run === id) refresh();
});
on("reset", refresh);
on("back", refresh);
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-copy-link]")) copyLink();
});
startKeys([
  { name: "next", keys: ["]"], label: "]", does: "next approval", run: () => step(1) },
  { name: "previous", keys: ["["], label: "[", does: "previous approval", run: () => step(-1) },
  { name: "link", keys: ["y", "Y"], label: "Y", does: "copy the link", run: copyLink },
]);
offerLink();
