// The parts of a shown call that change while it waits: brought up to date, what is typed in them kept.

import { essence, keepTyped } from "./patch.js";
import { adopt } from "./server.js";
import { tick } from "./times.js";

const PARTS = ["#claim", "#masked", "[data-remarks]", "#actions"];
const seen = new WeakMap();

// Notes each part as the server sent it; call it before a script changes anything in them.
export function noteParts(article) {
  for (const part of PARTS) {
    const element = article.querySelector(part);
    if (element) seen.set(element, essence(element));
  }
}

function keepOpen(old, fresh) {
  for (const way of old.querySelectorAll("details[data-way][open]")) {
    const same = fresh.querySelector(`[data-way="${CSS.escape(way.dataset.way)}"]`);
    if (same) same.open = true;
  }
}

// The reader goes on where they were, or at how the call ended.
function refocus(focused, copy, present) {
  const same = focused.id && copy.querySelector(`#${CSS.escape(focused.id)}`);
  (same || copy.querySelector(".outcome") || present.querySelector("#sentence")).focus({ preventScroll: true });
}

// Replaces the parts that differ; true when the action bar was one of them.
export function refreshParts(present, fresh) {
  let acted = false;
  for (const part of PARTS) {
    const old = present.querySelector(part);
    const found = fresh.querySelector(part);
    // A value that is being shown stays until its time is over.
    if (!old || !found || old.querySelector("[data-shown]")) continue;
    const source = essence(found);
    if (seen.get(old) === source) continue;
    const copy = adopt(found);
    keepTyped(old, copy);
    keepOpen(old, copy);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    old.replaceWith(copy);
    seen.set(copy, source);
    if (focused) refocus(focused, copy, present);
    acted ||= part === "#actions";
  }
  present.dataset.state = fresh.dataset.state;
  if (!fresh.querySelector(".left")) present.querySelector(".left")?.remove();
  tick(present);
  return acted;
}
