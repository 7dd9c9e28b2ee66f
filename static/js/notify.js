// The title's count, and browser notices for those who ask for them. A notice names the tool, never its arguments.

import { recall, remember } from "./store.js";

const KEY = "notify";
const button = document.getElementById("notify");
const name = document.title.replace(/^\(\d+\) /, "");

export function showCount(count) {
  document.title = count > 0 ? `(${count}) ${name}` : name;
  for (const place of document.querySelectorAll("[data-total], [data-pending-count]")) place.textContent = String(count);
}

export function notice(data) {
  if (!recall(KEY, false) || !document.hidden || Notification.permission !== "granted") return;
  new Notification("A call waits for a decision", { body: `${data.tool} (${data.risk} risk), ${data.agent}`, tag: data.id });
}

export function startNotices() {
  if (!button || !("Notification" in window)) return;
  button.hidden = false;
  button.setAttribute("aria-pressed", String(recall(KEY, false)));
  button.addEventListener("click", async () => {
    const on = !recall(KEY, false) && (await Notification.requestPermission()) === "granted";
    remember(KEY, on);
    button.setAttribute("aria-pressed", String(on));
  });
}
