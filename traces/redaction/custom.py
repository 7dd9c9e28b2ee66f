r"""Patterns of a tenant's own: checked when they are saved, bounded when they run.

Finding all matches is quadratic even in linear engines (each search of ``a.*z|a`` reads to the end of the text), so a
text is read in windows, and a text with too many matches is replaced whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from traces.redaction.engine import EngineError, Match, Pattern, compile_pattern
from traces.redaction.spans import Found, Label

MAX_PATTERNS = 32
MAX_PATTERN_LENGTH = 512
MAX_REPLACEMENT_LENGTH = 64
MAX_MATCHES = 256
WINDOW = 16 << 10  # characters
OVERLAP = 1 << 10  # characters that two windows share; a longer match may be found in parts
_MAX_MEMORY = 1 << 20  # bytes
_MAX_PROGRAM = 4096  # RE2 instructions: past it a text costs more than its length
_PROBE_SECONDS = 0.008  # for one window; a text of 64 KB has five
# The dearest search that stays linear, measured beside a slow pattern: a busy machine is no reason to refuse it.
_REFERENCE = "a.*z|a"
_REFERENCE_RUNS = 1.5
_PROBE_RUNS = 3

_BACK_REFERENCE = re.compile(r"\\(?:(\d{1,2})|g<(\w+)>|(.)|$)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class PatternError(ValueError):
    """The redaction pattern can't be used."""


class CustomRule(NamedTuple):
    """A compiled pattern and its replacement: texts and the numbers of the groups between them."""

    pattern: Pattern
    template: str
    parts: tuple[str | int, ...]


class TooManyMatchesError(Exception):
    """A pattern matched a text more often than MAX_MATCHES times."""


@lru_cache(maxsize=1024)
def compile_rule(pattern: str, template: str) -> CustomRule:
    """Compile one rule; raise PatternError when it is invalid, over-long, or refers to a group that it lacks."""
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise PatternError(f"is longer than {MAX_PATTERN_LENGTH} characters")
    if len(template) > MAX_REPLACEMENT_LENGTH:
        raise PatternError(f"has a replacement longer than {MAX_REPLACEMENT_LENGTH} characters")
    try:
        compiled = compile_pattern(pattern, max_memory=_MAX_MEMORY)
    except (EngineError, UnicodeEncodeError) as error:
        raise PatternError(f"is not valid RE2 syntax: {error}") from None
    if max(compiled.programsize, compiled.reverseprogramsize) > _MAX_PROGRAM:
        raise PatternError("is too large: use smaller repeat counts")
    return CustomRule(compiled, template, tuple(_parts(compiled, template)))


def check_rule(pattern: str, template: str) -> None:
    """Check a rule before it is saved; raise PatternError with what to change.

    Besides what ``compile_rule`` refuses: a pattern that matches the empty string, one that is slow on a text made
    to be hard for it, and a replacement that puts the whole value back or that nobody, PostgreSQL included, could
    read.
    """
    rule = compile_rule(pattern, template)
    if 0 in rule.parts:
        raise PatternError("has a replacement that puts the whole value back: refer to a group of it instead of \\0")
    if not template.isprintable():
        raise PatternError("has a replacement with characters that don't show")
    if any(match.start() == match.end() for text in ("", "a b", " \n") for match in rule.pattern.finditer(text)):
        raise PatternError("matches the empty string: it would redact everywhere; use + instead of *")
    if any(_is_slow(rule.pattern, text) for text in _probes(pattern)):
        raise PatternError("is too slow on a hostile text: use fewer repeats and alternatives")


def find_custom(rules: tuple[CustomRule, ...], text: str) -> Iterator[tuple[Found, str]]:
    """Yield each match in ``text`` with its replacement; raise TooManyMatchesError past MAX_MATCHES."""
    count = 0
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", text)  # RE2 reads UTF-8, which has no lone surrogates
    for rule in rules:
        for match in _windows(rule.pattern, text):
            start, end = match.span()
            if start == end:
                continue
            count += 1
            if count > MAX_MATCHES:
                raise TooManyMatchesError
            yield (start, end, Label.CUSTOM), _expanded(rule, match)


def _expanded(rule: CustomRule, match: Match) -> str:
    return "".join(part if isinstance(part, str) else match[part] or "" for part in rule.parts)


def _windows(pattern: Pattern, text: str) -> Iterator[Match]:
    if len(text) <= WINDOW:
        yield from pattern.finditer(text)
        return
    for start in range(0, len(text) - OVERLAP, WINDOW - OVERLAP):
        # A slice, not an end position: RE2 encodes all that it is given, for each window anew.
        window = text[start : start + WINDOW]
        for match in pattern.finditer(window):
            yield _Shifted(match, start)


class _Shifted:
    """A match whose offsets count from the beginning of the whole text."""

    def __init__(self, match: Match, offset: int) -> None:
        self._match = match
        self._offset = offset

    def start(self, group: int | str = 0) -> int:
        return self._match.start(group) + self._offset

    def end(self, group: int | str = 0) -> int:
        return self._match.end(group) + self._offset

    def span(self, group: int | str = 0) -> tuple[int, int]:
        return self.start(group), self.end(group)

    def __getitem__(self, group: int) -> str | None:
        return self._match[group]


def _parts(pattern: Pattern, template: str) -> Iterator[str | int]:
    """Split a replacement into texts and group numbers; raise PatternError for a reference that leads nowhere."""
    position = 0
    for reference in _BACK_REFERENCE.finditer(template):
        yield template[position : reference.start()]
        position = reference.end()
        number, name, other = reference.groups()
        if name is not None and name.isdigit():
            number = name
        if number is not None:
            if int(number) > pattern.groups:
                raise PatternError(f"has fewer groups than its replacement names: it refers to group {number}")
            yield int(number)
        elif name is not None:
            if name not in pattern.groupindex:
                raise PatternError(f"has no group named {name!r}, to which its replacement refers")
            yield pattern.groupindex[name]
        elif other != "\\":
            raise PatternError(r"has a replacement with a backslash that is no reference: write \\ for a backslash")
        else:
            yield "\\"
    yield template[position:]


def _is_slow(pattern: Pattern, text: str) -> bool:
    if _seconds(pattern, text) <= _PROBE_SECONDS:
        return False
    reference = _seconds(compile_pattern(_REFERENCE, max_memory=_MAX_MEMORY), "a" * WINDOW)
    return _seconds(pattern, text) > max(_PROBE_SECONDS, _REFERENCE_RUNS * reference)


def _seconds(pattern: Pattern, text: str) -> float:
    return min(_one_run(pattern, text) for _ in range(_PROBE_RUNS))


def _one_run(pattern: Pattern, text: str) -> float:
    began = time.thread_time()
    for count, _ in enumerate(pattern.finditer(text), 1):
        if count > MAX_MATCHES:
            break
    return time.thread_time() - began


def _probes(pattern: str) -> Iterator[str]:
    """Texts of one window that are hard for ``pattern``: its own letters repeated, alone and together."""
    letters = [character for character in dict.fromkeys(pattern) if character.isalnum()] or ["a"]
    words = re.findall(r"\w+", pattern)[:4]
    for unit in ("".join(letters[:16]), *letters[:6], *words, "a1 ", "0", "a", "aB3-_.@/ "):
        yield (unit * (WINDOW // len(unit) + 1))[:WINDOW]
