"""Charts as plain numbers for SVG templates: bars in percent of the width, so that text keeps its size. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

# Seconds at which a scale of durations has its lines, with what is written there.
TICKS = ((1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"), (36_000, "10 h"), (259_200, "3 d"))
_SHORTEST = 0.5


@dataclass(frozen=True)
class Mark:
    """A line of a scale: where (percent) and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Span:
    """One row of a chart of durations: the median as a bar's end, the 95th percentile as a line's, in percent."""

    label: str
    count: int
    p50: float
    p95: float
    p50_at: float
    p95_at: float


@dataclass(frozen=True)
class Part:
    """One piece of a stacked bar: its name, how many, where it begins and how wide it is, in percent."""

    name: str
    count: int
    at: float
    size: float


def duration_scale(longest: float) -> tuple[float, tuple[Mark, ...]]:
    """The end of a logarithmic scale that holds `longest` seconds, and its marks."""
    end = next((float(seconds) for seconds, _ in TICKS if seconds >= longest), max(longest, float(TICKS[-1][0])))
    end = max(end, 60.0)
    return end, tuple(Mark(place(seconds, end), text) for seconds, text in TICKS if seconds <= end)


def place(seconds: float, end: float) -> float:
    """Where a duration stands on the scale, in percent: 0 at half a second, 100 at `end`."""
    shortest = log10(_SHORTEST)
    share = (log10(max(seconds, _SHORTEST)) - shortest) / (log10(end) - shortest)
    return round(100 * min(1.0, share), 2)


def stacked(parts: Sequence[tuple[str, int]], whole: int) -> tuple[Part, ...]:
    """Pieces of a bar one after the other; `whole` is 100 percent. Empty pieces are left out."""
    found, at = [], 0
    for name, count in parts:
        if count:
            found.append(Part(name, count, round(100 * at / whole, 2), round(100 * count / whole, 2)))
        at += count
    return tuple(found)
