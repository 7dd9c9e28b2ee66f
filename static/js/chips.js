// Redacted text as nodes: tokens become chips, characters that don't show become their code points. Never HTML.

const LABELS = "EMAIL|PHONE|CREDIT_CARD|IBAN|US_SSN|PASSPORT|IP|PRIVATE_KEY|JWT|OPENAI_KEY|GITHUB_TOKEN|SLACK_TOKEN|AWS_KEY|AWS_SECRET|VENDOR_TOKEN|URL_CREDENTIALS|GENERIC_SECRET|CUSTOM";
const TYPED = new RegExp(`^\\[(${LABELS})(?::([a-z2-7]{16}))?\\]$`);
const SPECIAL = new RegExp(String.raw`\[(?:redact(?:ed(?:: ?[^\]\n]{1,60})?|ion failed)|REDACTED|(?:${LABELS})(?::[a-z2-7]{16})?)\]|[^\P{C}\n\t]|[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0100}-\u{e01ef}]`, "gu");

function piece(found) {
  const span = document.createElement("span");
  if (found.startsWith("[")) {
    const [, label, mark] = TYPED.exec(found) ?? [];
    span.className = "chip";
    span.textContent = label ? `[redacted: ${label.replaceAll("_", " ").toLowerCase()}${mark ? ` ${mark.slice(0, 6)}` : ""}]` : found;
    return span;
  }
  span.className = "escape";
  span.textContent = `⟦U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟧`;
  return span;
}

export function shown(text) {
  const fragment = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(SPECIAL)) {
    fragment.append(text.slice(end, match.index), piece(match[0]));
    end = match.index + match[0].length;
  }
  fragment.append(text.slice(end));
  return fragment;
}
