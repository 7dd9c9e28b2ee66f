// Work that can wait: until the answer to a key has been drawn, or until many changes have come together.

const LONGEST = 100;

// Runs the last function that was given once the next frame is drawn; a page in the background draws none.
export function afterPaint() {
  let due = null;
  const run = () => {
    const now = due;
    due = null;
    now?.();
  };
  return (work) => {
    const waits = due !== null;
    due = work;
    if (waits) return;
    requestAnimationFrame(() => setTimeout(run));
    setTimeout(run, LONGEST);
  };
}

// A function that runs `work` once for all calls of it within so many milliseconds.
export function gathered(work, milliseconds) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      work();
    }, milliseconds);
  };
}
