"""The compiled redactor: text, bytes, JSON values and streams."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from traces.redaction.spans import Label, Span, merge

if TYPE_CHECKING:
    from traces.redaction.hook import PIIRedactionHook

_PATTERNS: dict[str, list[tuple[Label, str]]] = {
    "redact_emails": [(Label.EMAIL, r"[^\s@<>(),;:\"'=]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")],
    "redact_phones": [(Label.PHONE, r"\+?\(?\d[\d ().-]{8,17}\d")],
    "redact_cards": [(Label.CREDIT_CARD, r"\b(?:\d[ -]?){13,18}\d\b")],
    "redact_ids": [
        (Label.US_SSN, r"\b\d{3}[- ]\d{2}[- ]\d{4}\b"),
        (Label.IBAN, r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b"),
        (Label.PASSPORT, r"(?i)(?<=passport: )[A-Z0-9]{6,10}"),
    ],
    "redact_ips": [(Label.IP, r"\b(?:\d{1,3}\.){3}\d{1,3}\b")],
    "redact_secrets": [
        (Label.PRIVATE_KEY, r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
        (Label.JWT, r"eyJ[\w-]+\.[\w-]+\.[\w-]*"),
        (Label.VENDOR_TOKEN, r"\b(?:sk|gh[pousr]|xox[abprs]|glpat|npm|hf|gsk)[-_][\w-]{16,}|\bA[KS]IA[A-Z0-9]{16}\b"),
        (Label.GENERIC_SECRET, r"(?i)(?<=password: )[^\s\[]{8,}|(?<=password=)[^\s\[]{8,}"),
    ],
}
_SECRET_KEY = re.compile(r"(?i)passw(?:or)?d|secret|api_?key|authorization|cookie|(?:^|[_-])token$")


class Redactor:
    """Redacts copies. Thread-safe: holds no state between calls."""

    def __init__(self, hook: PIIRedactionHook, pseudonym_key: bytes | None) -> None:
        if hook.mode == "pseudonym" and len(pseudonym_key or b"") < 16:
            raise ValueError("mode 'pseudonym' needs a pseudonym_key of at least 16 bytes")
        self._hook = hook
        self._rules = [
            (label, re.compile(pattern))
            for field, rules in _PATTERNS.items()
            if getattr(hook, field)
            for label, pattern in rules
        ]

    def spans(self, text: str) -> list[Span]:
        """Return what would be replaced in ``text``, in order, without overlaps (offsets are characters)."""
        return merge(
            [Span(*match.span(), label) for label, rule in self._rules for match in rule.finditer(text)],
        )

    def redact(self, value: Any) -> Any:
        """Return a copy of ``value`` (str, bytes or JSON value) that holds no recognised raw value."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes):
            return self._text(value.decode(errors="replace")).encode()
        if isinstance(value, dict):
            return {
                self.redact(key): self._token("GENERIC_SECRET") if _is_secret(key, item) else self.redact(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(self.redact(item) for item in value)
        return value

    def stream(self) -> Stream:
        """Return a redactor of one text that arrives in chunks."""
        return Stream(self)

    def _token(self, label: str) -> str:
        return self._hook.replacement if self._hook.mode == "replacement" else f"[{label}]"

    def _text(self, text: str) -> str:
        parts, last = [], 0
        for span in self.spans(text):
            parts += [text[last : span.start], self._token(span.label)]
            last = span.end
        return "".join([*parts, text[last:]])


def _is_secret(key: object, item: object) -> bool:
    return isinstance(key, str) and item not in (None, "") and _SECRET_KEY.search(key) is not None


class Stream:
    """Redacts one text that arrives in chunks: holds it all back until the end."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held: list[str] = []

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return what is safe to show."""
        self._held.append(chunk)
        return ""

    def close(self) -> str:
        """End the text; return the rest."""
        text: str = self._redactor.redact("".join(self._held))
        self._held.clear()
        return text
