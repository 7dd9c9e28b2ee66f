"""The one door to RE2: patterns over bytes, in linear time, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import re2

MAX_MEMORY = 8 << 20  # bytes a compiled pattern may use before RE2 falls back to its slow automaton


class Match(Protocol):
    """The part of a match that this package uses; offsets are in bytes (or characters for str subjects)."""

    def start(self, group: int | str = 0) -> int: ...
    def end(self, group: int | str = 0) -> int: ...
    def span(self, group: int | str = 0) -> tuple[int, int]: ...
    def __getitem__(self, group: int) -> str | None: ...


class Pattern(Protocol):
    """A compiled RE2 pattern. Subjects and patterns are both str or both bytes."""

    groups: int
    groupindex: dict[str, int]
    programsize: int
    reverseprogramsize: int

    def search(self, text: str | bytes, pos: int = 0, endpos: int | None = None) -> Match | None: ...
    def finditer(self, text: str | bytes, pos: int = 0, endpos: int | None = None) -> Iterator[Match]: ...


Finder = Callable[[bytes, int, int], Sequence[tuple[int, int]]]
"""Called with a buffer, where to begin and where to end; the first item is the leftmost match, or (-1, -1)."""


class EngineError(ValueError):
    """The pattern is not valid RE2 syntax."""


def compile_finder(pattern: bytes) -> Finder:
    """Compile ``pattern``, which has no groups, for many searches of one buffer, each from a place of its own."""
    compiled: Any = compile_pattern(pattern)
    # The public search makes a generator and an object for each match, which costs more than the search itself.
    finder: Finder = partial(compiled._regexp.Match, re2._Anchor.UNANCHORED)  # noqa: SLF001
    return finder


def compile_pattern(pattern: str | bytes, *, max_memory: int = MAX_MEMORY) -> Pattern:
    """Compile ``pattern``; raise EngineError with RE2's reason when it is invalid or too large."""
    options = re2.Options()
    options.max_mem = max_memory
    options.log_errors = False
    if isinstance(pattern, bytes):
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise EngineError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None
    return compiled
