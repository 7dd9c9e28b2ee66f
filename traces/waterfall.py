"""Where a run's intervals stand in a picture of 100 by n: the geometry of the waterfall. Pure.

A run works for seconds and may wait for a person for days. Stretches in which nothing worked are therefore drawn
narrower once they would take more than half of the width, so that the work can still be told apart; lengths are
written beside each bar.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from traces.intervals import WORK, Interval, IntervalKind, covered

ROW_HEIGHT = 24
BAR_HEIGHT = 14
LABEL_WIDTH = 34.0
_PLOT_WIDTH = 100.0 - LABEL_WIDTH - 1.0
_MIN_WIDTH = 0.4
_IDLE_SHARE = 0.5
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s"))


def duration_text(seconds: float) -> str:
    """Seconds for reading: `340 ms`, `2.1 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    for size, unit, smaller, name in _UNITS:
        if seconds >= size:
            whole, rest = divmod(round(seconds), size)
            return f"{whole} {unit} {rest // smaller} {name}"
    return ""


@dataclass(frozen=True)
class Bar:
    """One row of the waterfall: `x` and `width` in percent of the picture, `y` values in pixels."""

    interval: Interval
    x: float
    width: float
    row: int

    @property
    def top(self) -> int:
        """Upper edge of the bar."""
        return self.row * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) // 2

    @property
    def baseline(self) -> int:
        """Where the row's text stands."""
        return self.row * ROW_HEIGHT + ROW_HEIGHT // 2 + 4

    @property
    def css_class(self) -> str:
        """The classes that colour it."""
        names = [f"bar-{self.interval.kind}"]
        if self.interval.failed:
            names.append("bar-failed")
        if self.interval.running:
            names.append("bar-running")
        return " ".join(names)

    @property
    def name(self) -> str:
        """What the row is called."""
        return f"{self.interval.kind}: {self.interval.label}" if self.hatched else self.interval.label

    @property
    def text(self) -> str:
        """How long it took, and who or what ended it."""
        length = duration_text(self.interval.seconds)
        so_far = f"{length} so far" if self.interval.running else length
        return f"{so_far}, {self.interval.note.replace('_', ' ')}" if self.interval.note else so_far

    @property
    def hatched(self) -> bool:
        """Waits for people are drawn hatched."""
        return self.interval.kind in {IntervalKind.APPROVAL, IntervalKind.HOLD}


class _Scale:
    """Seconds to a share of the width, monotonic, with long idle stretches drawn narrower."""

    def __init__(self, found: Sequence[Interval]) -> None:
        total = max((each.end for each in found), default=0.0)
        busy = covered(each for each in found if each.kind in WORK)
        worked = sum(end - start for start, end in busy)
        idle = total - worked
        self.shortens = worked > 0 and idle > _IDLE_SHARE * total
        shrink = worked * _IDLE_SHARE / (1 - _IDLE_SHARE) / idle if self.shortens else 1.0
        self._times: list[float] = [0.0]
        self._places: list[float] = [0.0]
        for start, end in busy:
            self._extend(start, shrink)
            self._extend(end, 1.0)
        self._extend(total, shrink)

    def _extend(self, time: float, factor: float) -> None:
        length = time - self._times[-1]
        if length > 0:
            self._times.append(time)
            self._places.append(self._places[-1] + length * factor)

    def __call__(self, time: float) -> float:
        width = self._places[-1]
        if width <= 0:
            return 0.0
        index = min(max(bisect_right(self._times, time), 1), len(self._times) - 1)
        start, end = self._times[index - 1], self._times[index]
        share = min(max((time - start) / (end - start), 0.0), 1.0)
        return (self._places[index - 1] + share * (self._places[index] - self._places[index - 1])) / width


def shortens(found: Sequence[Interval]) -> bool:
    """Whether waiting is drawn narrower than work, so that the picture is not to scale."""
    return _Scale(found).shortens


def bars(found: Sequence[Interval]) -> tuple[Bar, ...]:
    """One bar an interval, one interval a row, in the order in which they began."""
    scale = _Scale(found)
    placed: list[Bar] = []
    for row, each in enumerate(found):
        x = LABEL_WIDTH + scale(each.start) * _PLOT_WIDTH
        width = max((scale(each.end) - scale(each.start)) * _PLOT_WIDTH, _MIN_WIDTH)
        placed.append(Bar(each, round(min(x, 100.0 - width), 3), round(width, 3), row))
    return tuple(placed)
