// For a high-risk call: whether each text that will run was scrolled through to its end.

const SLACK = 4;

function isAtEnd(box, edge) {
  const inner = box.scrollTop + box.clientHeight >= box.scrollHeight - SLACK;
  return inner && box.getBoundingClientRect().bottom <= edge + SLACK;
}

// Calls `changed` with what is still unread (a number) at once and whenever that changes.
export function watchReading(article, changed) {
  const unread = new Set([...article.querySelectorAll("[data-must-read]")].filter((box) => box.clientHeight > 0));
  const bar = article.querySelector("#actions");
  const look = () => {
    const before = unread.size;
    const edge = Math.min(bar.getBoundingClientRect().top, innerHeight);
    for (const box of unread) if (isAtEnd(box, edge)) unread.delete(box);
    if (unread.size !== before) changed(unread.size);
    if (unread.size === 0 || !article.isConnected) {
      document.removeEventListener("scroll", look, true);
      removeEventListener("resize", look);
    }
  };
  document.addEventListener("scroll", look, { capture: true, passive: true });
  addEventListener("resize", look);
  changed(unread.size);
  requestAnimationFrame(look);
}
