// Requests to our own server: JSON, forms, and pages as inert documents.

function token() {
  return document.querySelector('input[name="csrfmiddlewaretoken"]')?.value ?? "";
}

// What came back, or what kept it from coming: {status, body}; status 0 when the server can't be reached.
async function answer(request) {
  try {
    const response = await request;
    const isJSON = response.headers.get("content-type")?.includes("application/json");
    return { status: response.status, body: isJSON ? await response.json() : {} };
  } catch {
    return { status: 0, body: { error: "The server can't be reached. Nothing was changed: try again in a moment." } };
  }
}

// Who has to confirm that it is them goes to that page and comes back to this one.
function confirmFirst(told) {
  if (told.body.confirm) location.assign(`${told.body.confirm}?${new URLSearchParams({ next: location.pathname + location.search })}`);
  return told;
}

export function getJSON(url) {
  return answer(fetch(url, { headers: { accept: "application/json" }, cache: "no-store" }));
}

export function postForm(url, fields, options = {}) {
  const body = new URLSearchParams(fields);
  const headers = { accept: "application/json", "x-csrftoken": token() };
  return answer(fetch(url, { method: "POST", body, headers, ...options })).then(confirmFirst);
}

// A page as a document whose scripts never run. Its nodes can be adopted: the server has escaped whatever is in them.
export function getPage(url) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.onload = () => resolve({ status: request.status, page: request.response });
    request.onerror = () => resolve({ status: 0, page: null });
    request.send();
  });
}

// A page's part for this page: what only a browser without scripts would show is left out.
export function adopt(element) {
  for (const unneeded of element.querySelectorAll("noscript, script")) unneeded.remove();
  return document.adoptNode(element);
}
