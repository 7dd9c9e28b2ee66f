// What the kill switch has stopped, told on every page, also on those that were open when it was thrown.

import { on } from "./feed.js";
import { adopt, getPage } from "./server.js";

async function renew() {
  const shown = document.getElementById("halts");
  const { page } = await getPage(shown.dataset.url);
  const fresh = page?.getElementById("halts");
  if (fresh) shown.replaceChildren(...adopt(fresh).childNodes);
}

export function startHalts() {
  if (!document.getElementById("halts")?.dataset.url) return;
  on("entry", ({ topic }) => {
    if (topic === "halt") renew();
  });
  on("reset", renew);
  on("back", renew);
}
