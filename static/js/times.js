// Keeps relative times and countdowns current, by the server's clock.

const SIZES = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const SOON = 60;
const ONE_UNIT = new Set(["age", "left-short"]);
const due = new WeakMap();
const shownFor = new WeakMap();
const offset = Date.parse(document.body.dataset.now) - Date.now();

export function serverNow() {
  return Date.now() + offset;
}

// One or two units, like the server's `duration`.
export function duration(seconds, units = 2) {
  let rest = Math.max(0, Math.floor(seconds));
  for (const [index, [size, unit]] of SIZES.entries()) {
    if (rest < size) continue;
    const whole = Math.floor(rest / size);
    rest %= size;
    const smaller = SIZES[index + 1];
    const both = units > 1 && smaller && rest >= smaller[0] && whole < 10;
    return both ? `${whole} ${unit} ${Math.floor(rest / smaller[0])} ${smaller[1]}` : `${whole} ${unit}`;
  }
  return "0 s";
}

const MODES = {
  "ago": (ahead) => (Math.abs(ahead) < 1 ? "just now" : ahead > 0 ? `in ${duration(ahead)}` : `${duration(-ahead)} ago`),
  "age": (ahead) => duration(-ahead, 1),
  "so-far": (ahead) => duration(-ahead),
  "left": (ahead) => (ahead > 0 ? duration(ahead) : "over"),
  "left-short": (ahead) => (ahead > 0 ? duration(ahead, 1) : "over"),
};

// When the text of a time may be another one: at its next full minute, where seconds are not shown.
function isFresh(element, now) {
  return due.get(element) > now && element.dateTime === shownFor.get(element);
}

function note(element, now, ahead, time) {
  const units = ONE_UNIT.has(time) ? 60 : 600;
  const rest = ahead > 0 ? ahead % 60 : 60 - (-ahead % 60);
  due.set(element, Math.abs(ahead) > units + 60 ? now + Math.min(rest, 60) * 1000 : 0);
  shownFor.set(element, element.dateTime);
}

export function tick(root = document) {
  const now = serverNow();
  for (const element of root.querySelectorAll("time[data-time]")) {
    if (isFresh(element, now)) continue;
    const { time } = element.dataset;
    const ahead = (Date.parse(element.dateTime) - now) / 1000;
    const text = MODES[time](ahead);
    if (element.textContent !== text) element.textContent = text;
    if (time.startsWith("left")) element.classList.toggle("soon", ahead < SOON);
    note(element, now, ahead, time);
  }
}

export function setTime(element, iso) {
  due.delete(element);
  element.dateTime = iso;
  element.title = new Date(iso).toLocaleString();
}

export function startTimes() {
  tick();
  setInterval(() => tick(), 1000);
}
