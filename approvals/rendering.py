"""Turns untrusted text into segments that a page can show: redacted, and with nothing invisible in it. Pure.

A run of text becomes a list of segments (`docs/reference/presentation.md`): plain text, chips that stand for redacted
values, and escapes that stand for characters which a browser would not show or would use to reorder its neighbours.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Segment = dict[str, str]
Mark = Callable[[bytes], str]

# Raised with every change of what a value is rendered to (a test notices). The web tier renders a waiting call's
# arguments again before it takes a decision, and compares only what was rendered by the same code.
RENDERING = 2

# Above this many escapes in one block they go inline, so that hostile text can't blow a page up sixtyfold.
ESCAPES_SET_APART = 2000

# Printable by Unicode's categories and yet blank or invisible (Default_Ignorable_Code_Point, the Hangul fillers, the
# Braille blank); and the bracket of an escape itself, so that a text can't pretend to hold one.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef\u27e6]"
)
_BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LINES_AND_TABS = re.compile(r"[\n\t]+|[^\n\t]+")
# Every form of a redactor's token: typed, the replacement by default, and what stands for a failure.
_TOKEN = re.compile(r"\[redacted: (?P<typed>[^\]\[]{1,40})\]|\[(?P<bare>[A-Z][A-Z_]{1,30})(?:[:#][^\]\[]{1,40})?\]")


class SpanLike(Protocol):
    """What a redactor says of one range of characters."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def label(self) -> str: ...


class RedactorLike(Protocol):
    """The two calls of `traces.redaction.Redactor` that rendering needs."""

    def spans(self, text: str, /) -> Iterable[SpanLike]: ...
    def redact(self, value: Any, /) -> Any: ...


@dataclass(frozen=True)
class Part:
    """A piece of a raw text: shown as it is, or masked (`label` is set).

    Of a document inside a text `raw` is as the redactor wrote it again, empty where something is masked; `value` is
    what is masked there, read from the document.
    """

    raw: str
    label: str | None = None
    mark: str = ""
    value: str = ""

    @property
    def hidden(self) -> str:
        """What a masked part hides."""
        return self.value or self.raw


@dataclass(frozen=True)
class Block:
    """A run of segments, and what the raw text measured."""

    segments: list[Segment] = field(default_factory=list)
    characters: int = 0
    lines: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON shape."""
        return {
            "segments": self.segments,
            "characters": self.characters,
            "lines": self.lines,
            "masked": sum(1 for segment in self.segments if segment["kind"] == "chip"),
            "hidden": sum(segment["text"].count("⟦") for segment in self.segments if segment["kind"] != "chip"),
        }


def is_hidden(character: str) -> bool:
    """Whether a page would not show this character as itself. Line feed, tab and space are shown."""
    return character not in "\n\t" and (not character.isprintable() or _BLANK.match(character) is not None)


def escape(character: str) -> Segment:
    """The segment that stands for a hidden character."""
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "CONTROL CHARACTER")
    return {"kind": "escape", "code": code, "name": name, "text": f"⟦{code}⟧"}


def has_bidirectional(text: str) -> bool:
    """Whether the text holds a character that reorders what is shown (Trojan Source, CVE-2021-42574)."""
    return _BIDIRECTIONAL.search(text) is not None


def has_hidden(text: str) -> bool:
    """Whether the text holds any character that would not be shown."""
    return any(not run.isprintable() for run in _LINES_AND_TABS.findall(text) if run[0] not in "\n\t") or (
        _BLANK.search(text) is not None
    )


def visible(text: str) -> str:
    """The text with hidden characters as inline escapes."""
    if not has_hidden(text):
        return text
    return "".join(escape(char)["text"] if is_hidden(char) else char for char in text)


class Renderer:
    """Renders values for one tenant: `redactor` says what to mask, `mark` gives a masked value's keyed fingerprint."""

    def __init__(self, redactor: RedactorLike, mark: Mark) -> None:
        self._redactor = redactor
        self._mark = mark

    def redact(self, value: Any) -> Any:
        """A redacted copy of a JSON value."""
        return self._redactor.redact(value)

    def text(self, raw: str, redacted: str | None = None, *, most: int | None = None) -> Block:
        """A block of one text, of which at most so many characters are shown.

        `redacted` is what the redactor made of it in its place, where that is known.
        """
        parts = self.parts(raw, redacted)
        segments = segments_of(parts if most is None else _beginning(parts, most))
        return Block(segments, len(raw), raw.count("\n") + (raw != "" and not raw.endswith("\n")))

    def value(self, raw: Any, redacted: Any) -> Block:
        """A block of any JSON value as indented JSON with sorted keys."""
        parts = self.value_parts(raw, redacted)
        lines = 1 + sum(part.raw.count("\n") for part in parts if part.label is None)
        return Block(segments_of(parts), sum(len(part.raw) for part in parts), lines)

    def value_parts(self, raw: Any, redacted: Any) -> list[Part]:
        """What `value` is made of: the indented JSON, cut at what is masked."""
        return list(self._json(raw, redacted, "\n"))

    def parts(self, raw: str, redacted: str | None = None) -> list[Part]:
        """The text cut at what is masked."""
        if redacted is None:
            redacted = str(self._redactor.redact(raw))
        if raw == redacted:
            return [Part(raw)] if raw else []
        by_span = self._by_span(raw)
        if by_span is not None and _agrees(by_span, redacted):
            return by_span
        return self._by_token(raw, redacted)

    def _by_span(self, raw: str) -> list[Part] | None:
        parts: list[Part] = []
        last = 0
        for span in self._redactor.spans(raw):
            if span.start > last:
                parts.append(Part(raw[last : span.start]))
            hidden = raw[span.start : span.end]
            parts.append(Part(hidden, _label(span.label), self._mark(hidden.encode("utf-8", "surrogatepass"))))
            last = span.end
        if not parts:
            return None
        return [*parts, Part(raw[last:])] if last < len(raw) else parts

    def _by_token(self, raw: str, redacted: str) -> list[Part]:
        """What can be said from the redacted text alone: a structured key, a document inside a string."""
        whole = _TOKEN.fullmatch(redacted)
        if whole:
            return [Part(raw, _token_label(whole), self._mark(raw.encode("utf-8", "surrogatepass")))]
        parts: list[Part] = []
        last = 0
        for match, value in self._tokens_in(raw, redacted):
            mark = self._mark(value.encode("utf-8", "surrogatepass")) if value else ""
            parts += [Part(redacted[last : match.start()]), Part("", _token_label(match), mark, value)]
            last = match.end()
        return [part for part in [*parts, Part(redacted[last:])] if part.raw or part.label]

    def _tokens_in(self, raw: str, redacted: str) -> list[tuple[re.Match[str], str]]:
        """The redactor's tokens in a text, each with what it stands for; empty where that can't be told for certain."""
        found = list(_TOKEN.finditer(redacted))
        masked = [part for part in self._inside(raw, redacted) if part.label is not None]
        if [part.label for part in masked] != [_token_label(match) for match in found]:
            return [(match, "") for match in found]
        return [(match, part.hidden) for match, part in zip(found, masked, strict=True)]

    def _inside(self, raw: str, redacted: str) -> Iterator[Part]:
        """The parts of all names and values of a JSON document that is a text, in its order."""
        try:
            documents = json.loads(raw), json.loads(redacted)
        except (ValueError, RecursionError):
            return
        yield from self._leaves(*documents)

    def _leaves(self, raw: Any, redacted: Any) -> Iterator[Part]:
        if isinstance(raw, dict) and isinstance(redacted, dict) and len(raw) == len(redacted):
            for (name, old), (shown, new) in zip(raw.items(), redacted.items(), strict=True):
                yield from self.parts(name, shown)
                yield from self._leaves(old, new)
        elif isinstance(raw, list) and isinstance(redacted, list) and len(raw) == len(redacted):
            for old, new in zip(raw, redacted, strict=True):
                yield from self._leaves(old, new)
        elif isinstance(redacted, str):
            yield from self.parts(raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False), redacted)

    def _json(self, raw: Any, redacted: Any, indent: str) -> Iterator[Part]:
        if isinstance(raw, Mapping) and isinstance(redacted, Mapping) and len(raw) == len(redacted):
            pairs = sorted(zip(raw.items(), redacted.items(), strict=True), key=lambda pair: str(pair[0][0]))
            yield from self._members(
                "{}",
                [(self._key(old[0], new[0]), old[1], new[1]) for old, new in pairs],
                indent,
            )
        elif isinstance(raw, (list, tuple)) and isinstance(redacted, (list, tuple)) and len(raw) == len(redacted):
            yield from self._members("[]", [([], old, new) for old, new in zip(raw, redacted, strict=True)], indent)
        elif isinstance(redacted, str):
            yield from _quoted(self.parts(raw if isinstance(raw, str) else str(raw), redacted))
        elif isinstance(redacted, (Mapping, list, tuple)):
            yield Part(json.dumps(redacted, ensure_ascii=False, sort_keys=True, default=str))
        else:
            yield Part(json.dumps(redacted, ensure_ascii=False))

    def _key(self, raw: object, redacted: object) -> list[Part]:
        return [*_quoted(self.parts(str(raw), str(redacted))), Part(": ")]

    def _members(self, brackets: str, members: list[tuple[list[Part], Any, Any]], indent: str) -> Iterator[Part]:
        if not members:
            yield Part(brackets)
            return
        inner = indent + "  "
        yield Part(brackets[0])
        for position, (key, raw, redacted) in enumerate(members):
            yield Part(("," if position else "") + inner)
            yield from key
            yield from self._json(raw, redacted, inner)
        yield Part(indent + brackets[1])


def _beginning(parts: list[Part], most: int) -> Iterator[Part]:
    """The parts up to so many shown characters, and how many more there are."""
    left = most
    for part in parts:
        if part.label is not None:
            if left > 0:
                yield part
            continue
        if left > 0:
            yield Part(part.raw[:left])
        left -= len(part.raw)
    if left < 0:
        yield Part(f"… (+{-left} characters)")


def segments_of(parts: Iterable[Part]) -> list[Segment]:
    """Segments of parts: neighbours of the same kind joined, hidden characters set apart."""
    listed = list(parts)
    hidden = sum(is_hidden(char) for part in listed if part.label is None and has_hidden(part.raw) for char in part.raw)
    dense = hidden > ESCAPES_SET_APART
    segments: list[Segment] = []
    pending: list[str] = []
    for segment in (found for part in listed for found in _segments_of_part(part, dense=dense)):
        if segment["kind"] == "text":
            pending.append(segment["text"])
            continue
        _flush(pending, segments)
        segments.append(segment)
    _flush(pending, segments)
    return segments


def _flush(pending: list[str], segments: list[Segment]) -> None:
    text = "".join(pending)
    if text:
        segments.append(_plain(text))
    pending.clear()


def _segments_of_part(part: Part, *, dense: bool) -> Iterator[Segment]:
    if part.label is not None:
        yield {"kind": "chip", "label": part.label, "mark": part.mark}
    elif dense:
        yield _plain(visible(part.raw))
    else:
        yield from _set_apart(part.raw)


def lines_of(parts: Iterable[Part]) -> list[tuple[str, list[Segment]]]:
    """The lines of a text as (raw line, its segments). A masked value over several lines is a chip on each of them."""
    lines: list[list[Part]] = [[]]
    for part in parts:
        first, *rest = part.raw.split("\n")
        lines[-1].append(Part(first, part.label, part.mark))
        lines.extend([Part(piece, part.label, part.mark)] for piece in rest)
    if len(lines) > 1 and not any(part.raw for part in lines[-1]):
        lines.pop()
    return [("".join(part.raw for part in line), segments_of(line)) for line in lines if line]


def _plain(text: str) -> Segment:
    return {"kind": "text", "text": text}


def _set_apart(text: str) -> Iterator[Segment]:
    if not has_hidden(text):
        yield _plain(text)
        return
    start = 0
    for position, char in enumerate(text):
        if is_hidden(char):
            yield _plain(text[start:position])
            yield escape(char)
            start = position + 1
    yield _plain(text[start:])


def _quoted(parts: list[Part]) -> Iterator[Part]:
    yield Part('"')
    for part in parts:
        if part.label is None:
            yield Part(json.dumps(part.raw, ensure_ascii=False)[1:-1])
        else:
            yield part
    yield Part('"')


def _agrees(parts: list[Part], redacted: str) -> bool:
    """Whether what the spans leave visible is what the redactor left visible, in the same order."""
    position = 0
    for part in parts:
        if part.label is None:
            position = redacted.find(part.raw, position)
            if position < 0:
                return False
            position += len(part.raw)
    shown = sum(len(part.raw) for part in parts if part.label is None)
    return shown <= len(redacted)


def _label(label: str) -> str:
    return label.lower().replace("_", " ")


def _token_label(match: re.Match[str]) -> str:
    return _label(match["typed"] or match["bare"] or "value")
