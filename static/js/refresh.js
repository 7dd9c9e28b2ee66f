// Fetches the page again, at most one request at a time, and patches one part of it.

import { patch, watch } from "./patch.js";
import { getPage } from "./server.js";

const AGAIN = 2000;

export function refresher(selector, done = () => {}) {
  let busy = false;
  let again = false;
  watch(document);
  return async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    do {
      again = false;
      const { status, page } = await getPage(location.href);
      const fresh = status === 200 ? page?.querySelector(selector) : null;
      if (fresh) {
        patch(document.querySelector(selector), fresh);
        document.title = page.title;
        done();
      } else if (status === 0 || status >= 500) {
        setTimeout(refresh, AGAIN);
      }
    } while (again);
    busy = false;
  };
}
