// Nothing is decided within 600 ms of a change of selection or focus: the press was meant for what was there before.

const QUIET = 600;
let armedAt = performance.now() + QUIET;
const waiting = new Set();

export function disarm() {
  armedAt = performance.now() + QUIET;
  for (const listener of waiting) listener(QUIET);
}

export function isArmed() {
  return performance.now() >= armedAt;
}

// Called with the milliseconds until decisions are taken again, whenever that starts anew.
export function onDisarm(listener) {
  waiting.add(listener);
  listener(Math.max(0, armedAt - performance.now()));
}

export function startGuard() {
  addEventListener("focus", disarm);
  document.addEventListener("visibilitychange", disarm);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") disarm();
  });
}
