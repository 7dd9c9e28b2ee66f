// Brings a part of this page up to date from a newer copy of it, keyed child by keyed child, keeping every node whose
// content stayed the same: focus, selection, scroll positions and open details survive.

import { adopt } from "./server.js";
import { tick } from "./times.js";

const seen = new WeakMap();

// What differs between two renderings of the same facts does not count: relative times, form tokens, what is open.
export function essence(element) {
  return element.outerHTML
    .replace(/(<time[^>]*>)[^<]*/g, "$1")
    .replace(/name="(csrfmiddlewaretoken|idempotency_key)" value="[^"]*"/g, "")
    .replace(/ open=""/g, "");
}

function keyed(parent) {
  return new Map([...parent.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
}

export function watch(root) {
  for (const element of root.querySelectorAll("[data-key]")) seen.set(element, essence(element));
}

// What somebody has typed into a field stays in it.
export function keepTyped(old, fresh) {
  for (const field of old.querySelectorAll("textarea[id], input[id]:not([type=hidden])")) {
    const same = field.value && fresh.querySelector(`#${CSS.escape(field.id)}`);
    if (same) same.value = field.value;
  }
}

function replace(old, fresh, source) {
  const copy = adopt(fresh);
  if (copy instanceof HTMLDetailsElement) copy.open = copy.open || old.open;
  keepTyped(old, copy);
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(copy);
  if (focused) copy.querySelector(`#${CSS.escape(focused)}`)?.focus();
  seen.set(copy, source);
  return copy;
}

function settle(old, fresh) {
  const source = essence(fresh);
  if (seen.get(old) === source) return old;
  if (old.dataset.patch && fresh.dataset.patch) {
    patch(old, fresh);
    seen.set(old, source);
    return old;
  }
  return replace(old, fresh, source);
}

export function patch(root, fresh) {
  const present = keyed(root);
  let previous = null;
  for (const child of [...fresh.children]) {
    const old = present.get(child.dataset.key);
    present.delete(child.dataset.key);
    if (!child.dataset.key) continue;
    let node = old && settle(old, child);
    if (!node) {
      const source = essence(child);
      node = adopt(child);
      seen.set(node, source);
    }
    const place = previous ? previous.nextElementSibling : root.firstElementChild;
    if (place !== node) root.insertBefore(node, place);
    previous = node;
  }
  for (const gone of present.values()) gone.remove();
  for (const name of ["data-state", "class"]) {
    if (fresh.hasAttribute(name)) root.setAttribute(name, fresh.getAttribute(name));
  }
  tick(root);
}
