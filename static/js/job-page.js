// The form for a new job: the chosen agent's tools beside it, Ctrl+Enter, an example to start from.

import "./app.js";

const form = document.getElementById("job");
const prompt = document.getElementById("id_prompt");

function showAgent() {
  const chosen = form.elements.agent.value;
  for (const about of document.querySelectorAll("[data-agent]")) about.hidden = about.dataset.agent !== chosen;
}

if (form) {
  form.addEventListener("change", showAgent);
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat) return;
    event.preventDefault();
    form.requestSubmit();
  });
  for (const badge of form.querySelectorAll("[data-badge]")) badge.hidden = false;
  const example = document.querySelector("[data-example]");
  if (example) {
    example.hidden = false;
    example.addEventListener("click", () => {
      prompt.value = example.dataset.example;
      prompt.focus();
    });
  }
}
