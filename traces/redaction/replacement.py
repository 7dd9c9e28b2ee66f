"""What stands in the place of a value: the configured text, a typed token, or a pseudonym."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Literal

from traces.redaction.spans import Label

Mode = Literal["replacement", "typed", "pseudonym"]

PSEUDONYM_KEY_BYTES = 16  # the shortest key that is accepted
_DIGEST_CHARACTERS = 16  # base32: 80 bits, so that two values of a tenant meet once in 10^12
_PSEUDONYMOUS = frozenset({Label.EMAIL, Label.PHONE, Label.IP})

TYPED_TOKEN = re.compile(r"\[(" + "|".join(Label) + r")(?::([a-z2-7]{16}))?\]")
"""A typed token in stored text: group 1 is the label, group 2 the pseudonym. Pages show it as a chip."""


class Replacement:
    """Makes the token of a value. Tokens hold no digit run and no ``@``, so they are never redacted again."""

    def __init__(self, mode: Mode, text: str, pseudonym_key: bytes | None) -> None:
        if mode == "pseudonym" and len(pseudonym_key or b"") < PSEUDONYM_KEY_BYTES:
            raise ValueError(f"mode 'pseudonym' needs a pseudonym_key of at least {PSEUDONYM_KEY_BYTES} bytes")
        self.fixed = text if mode == "replacement" else ""  # what stands for every value, when one text does
        self._mode = mode
        self._text = text
        self._key = pseudonym_key or b""
        self.token_pattern = re.compile(rf"{re.escape(text)}|{TYPED_TOKEN.pattern}")

    def token(self, label: str, value: str = "") -> str:
        """Return what is written instead of ``value``, a value of kind ``label``."""
        if self._mode == "replacement":
            return self.fixed
        if self._mode == "pseudonym" and label in _PSEUDONYMOUS and value:
            return f"[{label}:{self._digest(label, value)}]"
        return f"[{label}]"

    def masked(self, text: str) -> str:
        """Return ``text`` with every token as NUL characters, through which no value reaches; of the same length."""
        if self._text in text:
            text = text.replace(self._text, "\0" * len(self._text))
        if "[" in text:
            text = TYPED_TOKEN.sub(_nul, text)
        return text

    def _digest(self, label: str, value: str) -> str:
        digest = hmac.new(self._key, f"{label}\0{_normalised(label, value)}".encode(errors="replace"), hashlib.sha256)
        return base64.b32encode(digest.digest()).decode().lower()[:_DIGEST_CHARACTERS]


def _nul(token: re.Match[str]) -> str:
    return "\0" * (token.end() - token.start())


def _normalised(label: str, value: str) -> str:
    """Spellings of one value get one pseudonym: case of an address, punctuation of a number."""
    if label == Label.PHONE:
        digits = re.sub(r"[^\d+x]", "", value.replace("(0)", "").lower())
        return "+" + digits[2:] if digits.startswith("00") else digits
    return value.strip().casefold()
