// A person's settings: what belongs to this browser is changed at once, the rest is saved by the form.

import "./app.js";
import { WANTED, wantsNotices } from "./notify.js";
import { remember } from "./store.js";
import { choose, current } from "./theme.js";

const button = document.getElementById("notify");
const state = document.getElementById("notify-state");
const themes = document.getElementById("themes");
const here = document.getElementById("here");

function showNotices() {
  const on = wantsNotices();
  button.setAttribute("aria-pressed", String(on));
  button.textContent = on ? "Switch off" : "Allow";
  if (Notification.permission === "denied") {
    button.disabled = true;
    state.textContent = "Your browser refuses notices from this site. Allow them in its settings for this address, then come back.";
  }
}

if (button && "Notification" in window) {
  button.hidden = false;
  showNotices();
  button.addEventListener("click", async () => {
    const on = !wantsNotices() && (await Notification.requestPermission()) === "granted";
    remember(WANTED, on);
    showNotices();
  });
}

function showThemes() {
  for (const each of themes.querySelectorAll("button")) {
    each.setAttribute("aria-pressed", String(each.dataset.themeChoice === current()));
  }
}

themes.hidden = false;
showThemes();
themes.addEventListener("click", (event) => {
  const chosen = event.target.closest("button")?.dataset.themeChoice;
  if (chosen) choose(chosen);
  showThemes();
});
document.getElementById("theme").addEventListener("click", showThemes);

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const field = document.getElementById("id_time_zone");
if (zone && field.value !== zone) {
  here.hidden = false;
  here.textContent = `Use the time zone of this computer, ${zone}`;
  here.addEventListener("click", () => {
    field.value = zone;
    here.hidden = true;
  });
}
