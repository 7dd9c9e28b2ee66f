// Tools that were taken out of use after a violation: the line at the top of every page follows the feed.

import { on } from "./feed.js";
import { adopt, getPage } from "./server.js";

export function startContained() {
  const place = document.getElementById("contained");
  if (!place) return;
  on("entry", async ({ topic }) => {
    if (topic !== "containment") return;
    const { status, page } = await getPage(location.href);
    const fresh = status === 200 ? page?.getElementById("contained") : null;
    if (fresh) place.replaceChildren(...adopt(fresh).children);
  });
}
