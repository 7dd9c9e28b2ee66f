// Keeps relative times and countdowns current, by the server's clock.

const SIZES = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const SOON = 60;
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

export function tick(root = document) {
  const now = serverNow();
  for (const element of root.querySelectorAll("time[data-time]")) {
    const { time } = element.dataset;
    const ahead = (Date.parse(element.dateTime) - now) / 1000;
    const text = MODES[time](ahead);
    if (element.textContent !== text) element.textContent = text;
    if (time.startsWith("left")) element.classList.toggle("soon", ahead < SOON);
  }
}

export function setTime(element, iso) {
  element.dateTime = iso;
  element.title = new Date(iso).toLocaleString();
}

export function startTimes() {
  tick();
  setInterval(() => tick(), 1000);
}
