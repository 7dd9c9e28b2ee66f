// Passkeys: a form marked data-passkey asks the browser for a credential and is then sent with it.
// "ask" fetches its options from the form's own address; "get" and "create" find them in the page.

import { getJSON } from "./server.js";

const GAVE_UP = "The browser gave no passkey. Try again, or use another way.";

function isSupported() {
  return Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON && navigator.credentials);
}

async function optionsOf(form) {
  if (form.dataset.passkey !== "ask") return JSON.parse(document.getElementById("passkey-options").textContent);
  const { status, body } = await getJSON(form.action);
  if (status !== 200) throw new Error(body.error ?? GAVE_UP);
  return body.request_options;
}

function passwordless(form, wanted) {
  if (!form.elements.passwordless) return wanted;
  const alone = form.elements.passwordless.checked;
  const selection = { ...wanted.authenticatorSelection, residentKey: alone ? "required" : "discouraged", requireResidentKey: alone };
  if (alone) selection.userVerification = "required";
  return { ...wanted, authenticatorSelection: selection };
}

async function credentialFor(form) {
  const { publicKey } = await optionsOf(form);
  if (form.dataset.passkey === "create") {
    const wanted = PublicKeyCredential.parseCreationOptionsFromJSON(passwordless(form, publicKey));
    return navigator.credentials.create({ publicKey: wanted });
  }
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
}

async function send(event) {
  event.preventDefault();
  const form = event.target;
  const error = form.querySelector(".error:last-of-type");
  error.hidden = true;
  try {
    const credential = await credentialFor(form);
    form.elements.credential.value = JSON.stringify(credential.toJSON());
  } catch (problem) {
    error.textContent = problem instanceof DOMException ? GAVE_UP : problem.message;
    error.hidden = false;
    return;
  }
  form.submit();
}

// WebAuthn binds a passkey to a name: a bare address has none. This machine has one besides.
function tellName() {
  for (const note of document.querySelectorAll(".unsupported")) {
    note.hidden = false;
    note.textContent = "Passkeys need the site's name instead of a bare address.";
    if (!["127.0.0.1", "[::1]"].includes(location.hostname)) continue;
    const there = document.createElement("a");
    there.href = location.href.replace(location.hostname, "localhost");
    there.textContent = "localhost";
    note.append(" They work on ", there, ".");
  }
}

export function startPasskeys() {
  if (/^[\d.]+$|^\[/.test(location.hostname)) return tellName();
  if (!isSupported()) return;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", send);
  }
  for (const note of document.querySelectorAll(".unsupported")) note.hidden = true;
}
