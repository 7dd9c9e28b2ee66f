// The list of jobs: states follow the runs.

import "./app.js";
import { on } from "./feed.js";
import { refresher } from "./refresh.js";

const PAUSE = 300;
const refresh = refresher("#jobs");
let timer = 0;

// The first change shows at once; a burst of them costs one request each 300 ms.
function soon() {
  if (timer) return;
  refresh();
  timer = setTimeout(() => {
    timer = 0;
  }, PAUSE);
}

let missed = 0;
on("entry", (entry) => {
  if (entry.topic !== "run") return;
  if (timer) {
    clearTimeout(missed);
    missed = setTimeout(refresh, PAUSE);
  }
  soon();
});
on("reset", refresh);
on("back", refresh);
