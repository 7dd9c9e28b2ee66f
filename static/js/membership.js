// Somebody's place in the tenant changed. One's own is told on every page; an open list of members follows.

import { on } from "./feed.js";
import { adopt, getPage } from "./server.js";

const LIST = "[data-members]";

function tellOwn(role) {
  const away = document.getElementById("away");
  away.textContent = `Your role here is ${role} now. Load the page again to work with it.`;
  away.hidden = false;
}

async function renewList(list) {
  const { status, page } = await getPage(location.href);
  const fresh = status === 200 ? page?.querySelector(LIST) : null;
  // A role that somebody is choosing stays chosen.
  if (fresh && !list.contains(document.activeElement)) list.replaceChildren(...adopt(fresh).children);
}

export function startMembership() {
  const list = document.querySelector(LIST);
  const { person } = document.body.dataset;
  on("entry", ({ topic, facts }) => {
    if (topic !== "membership") return;
    if (String(facts.person) === person && facts.role) tellOwn(facts.role);
    if (list) renewList(list);
  });
}
