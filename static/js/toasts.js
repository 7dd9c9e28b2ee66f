// Short messages at the bottom of the page; screen readers hear them.

const place = document.getElementById("toasts");

export function toast(text, { bad = false, seconds = 6, action = null } = {}) {
  const box = document.createElement("div");
  box.className = `toast${bad ? " bad" : ""}${action ? "" : " plain"}`;
  const words = document.createElement("span");
  words.textContent = text;
  box.append(words);
  if (action) box.append(action);
  place.append(box);
  const timer = setTimeout(() => box.remove(), seconds * 1000);
  return {
    words,
    box,
    close() {
      clearTimeout(timer);
      box.remove();
    },
  };
}
