"""Redaction of a text that arrives in chunks, such as a model's answer."""

from __future__ import annotations

import re
from typing import Protocol

from traces.redaction.spans import Hit

HOLD_BACK = 256  # characters: a value that is still arriving is this short, or its span touches the end
MAX_HELD = 1 << 20  # characters of one open span, after which it is replaced without waiting for its end
_CONTEXT = 512  # characters already given out that are kept, as the context of what follows
_HEADER = 64  # characters of a span that was given up that are kept, so that its rest is still known as part of it
_STEP = 32  # characters that must be waiting before the text is looked at again
_LONGEST_TOKEN = 16 << 10  # characters of the longest word that is not cut in two

_WORD_REVERSED = re.compile(rf"[A-Za-z0-9_.+/=~%-]{{0,{_LONGEST_TOKEN}}}")


class _TextRedactor(Protocol):
    def hits(self, text: str) -> list[Hit]: ...


class RedactionStream:
    """Gives out a text's beginning as soon as no value can reach into it.

    The last 256 characters are held back, and so are a word that is not finished and a span that touches what has
    arrived last: a PEM block is held until it is closed. One stream is for one text and one thread.
    """

    def __init__(self, redactor: _TextRedactor) -> None:
        self._redactor = redactor
        self._text = ""  # context, then what is held
        self._given = 0  # where in _text the held part begins
        self._wait_for = HOLD_BACK + _STEP  # held characters at which to look again

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the redacted text that is now safe to show, often an empty string."""
        self._text += chunk
        if len(self._text) - self._given < self._wait_for:
            return ""
        return self._advance(len(self._text) - HOLD_BACK)

    def close(self) -> str:
        """End the text; return the redacted rest. The stream can then be used for another text."""
        rest = rewrite(self._text, self._redactor.hits(self._text), self._given, len(self._text))
        self._restart("")
        return rest

    def _advance(self, cut: int) -> str:
        hits = self._redactor.hits(self._text)
        cut = self._word_start(cut)
        for hit in hits:
            if hit.span.start < cut < hit.span.end:
                cut = hit.span.start
        cut = max(cut, self._given)
        shown = rewrite(self._text, hits, self._given, cut)
        held = len(self._text) - cut
        if held > MAX_HELD:
            return shown + self._give_up(hits, cut)
        keep = max(0, cut - _CONTEXT)
        self._text, self._given = self._text[keep:], cut - keep
        # What is held is looked at again when it has grown by a quarter: else many small chunks would cost its square.
        self._wait_for = max(HOLD_BACK + _STEP, held + held // 4)
        return shown

    def _word_start(self, cut: int) -> int:
        word = _WORD_REVERSED.match(self._text[max(self._given, cut - _LONGEST_TOKEN) : cut][::-1])
        return cut if word is None or word.end() == _LONGEST_TOKEN else cut - word.end()

    def _give_up(self, hits: list[Hit], cut: int) -> str:
        start = next((hit.span.start for hit in hits if hit.span.end > cut), cut)
        token = hits[-1].token if hits else ""
        rest = token or rewrite(self._text, hits, cut, len(self._text))
        self._restart(self._text[start : start + _HEADER])
        return rest

    def _restart(self, context: str) -> None:
        self._text, self._given = context, len(context)
        self._wait_for = HOLD_BACK + _STEP


def rewrite(text: str, hits: list[Hit], start: int, end: int) -> str:
    """Return ``text[start:end]`` with every hit replaced; a hit that reaches in from outside leaves its token once."""
    parts: list[str] = []
    position = start
    for hit in hits:
        if hit.span.end <= start:
            continue
        if hit.span.start >= end:
            break
        parts += (text[position : max(position, hit.span.start)], hit.token)
        position = min(hit.span.end, end)
    parts.append(text[position:end])
    return "".join(parts)
