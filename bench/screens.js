// What `bench.screens` watches in the page: paints, shifts, long tasks, rows as they are drawn, keys as they are answered.

window.bench = { lcp: 0, cls: 0, long: 0, rows: {}, keys: [], clicks: [] };

function watch(type, each) {
  new PerformanceObserver((list) => list.getEntries().forEach(each)).observe({ type, buffered: true });
}

watch("largest-contentful-paint", (entry) => { bench.lcp = entry.startTime; });
watch("layout-shift", (entry) => { if (!entry.hadRecentInput) bench.cls += entry.value; });
// Total blocking time: what a task takes beyond 50 ms.
watch("longtask", (entry) => { bench.long += Math.max(0, entry.duration - 50); });

// Called when the frame that is being made has been drawn.
function drawn(then) {
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = then;
    port2.postMessage(0);
  });
}

window.benchRows = () => {
  const rows = document.getElementById("rows");
  new MutationObserver((changes) => {
    const ids = changes.flatMap((change) => [...change.addedNodes]).map((node) => node.dataset?.id).filter(Boolean);
    if (ids.length > 0) drawn(() => { for (const id of ids) bench.rows[id] ??= Date.now() / 1000; });
  }).observe(rows, { childList: true });

  let began = 0;
  addEventListener("keydown", (event) => { began = event.timeStamp; }, { capture: true });
  new MutationObserver((changes) => {
    if (!began || !changes.some(({ target }) => target.hasAttribute("aria-current"))) return;
    const from = began;
    began = 0;
    drawn(() => bench.keys.push(performance.now() - from));
  }).observe(rows, { attributes: true, subtree: true, attributeFilter: ["aria-current"] });

  rows.addEventListener("click", ({ target }) => bench.clicks.push(target.closest(".row")?.dataset.id ?? null));
};
