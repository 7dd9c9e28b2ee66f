// The switch between the system's colours, light and dark.

const ORDER = ["system", "light", "dark"];
const FACES = {
  system: ["#i-auto", "as the system"],
  light: ["#i-sun", "light"],
  dark: ["#i-moon", "dark"],
};

export function current() {
  return document.documentElement.dataset.theme ?? "system";
}

function show() {
  const button = document.getElementById("theme");
  const [icon, words] = FACES[current()];
  button.querySelector("use").setAttribute("href", icon);
  button.setAttribute("aria-label", `Colours: ${words}`);
  button.title = `Colours: ${words}`;
}

export function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    // Not JSON: theme-early.js reads it before any module is there.
    localStorage.setItem("theme", theme);
  } catch {
    // The choice holds for this page only.
  }
  show();
}

export function startTheme() {
  const button = document.getElementById("theme");
  if (!button) return;
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    choose(ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length]);
  });
}
