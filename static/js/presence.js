// Who looks at which call.

import { on } from "./feed.js";

const people = new Map();

// One's own look, once; somebody else may have the same name.
function others(names) {
  const at = names.indexOf(document.body.dataset.name);
  return at < 0 ? names : names.toSpliced(at, 1);
}

export function showLookers(element) {
  const place = element.querySelector("[data-lookers]");
  if (!place) return;
  place.replaceChildren(...(people.get(element.dataset.id) ?? []).map((name) => {
    const badge = document.createElement("span");
    badge.className = "looker";
    badge.title = `${name} is looking`;
    badge.setAttribute("role", "img");
    badge.setAttribute("aria-label", badge.title);
    badge.textContent = name.slice(0, 1).toUpperCase();
    return badge;
  }));
}

// `find(id)` answers with the elements that show a call.
export function startPresence(find) {
  on("presence", ({ subject, people: names }) => {
    people.set(subject, others(names));
    for (const element of find(subject)) showLookers(element);
  });
}
