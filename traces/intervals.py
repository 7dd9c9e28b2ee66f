"""What a run spent its time on, from its events: working, waiting for a person, held, queued. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from traces.kinds import EventKind


@dataclass(frozen=True)
class Event:
    """One stored event, as the read side handles it."""

    number: int
    kind: str
    at: datetime
    call_id: str = ""
    gate_id: str = ""
    actor: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """A field of the payload as text; "" where there is none."""
        value = self.payload.get(key)
        return "" if value is None else str(value)


class IntervalKind(StrEnum):
    """What the time was spent on."""

    QUEUED = "queued"
    MODEL = "model"
    TOOL = "tool"
    APPROVAL = "approval"
    HOLD = "hold"


WORK = frozenset({IntervalKind.MODEL, IntervalKind.TOOL})


@dataclass(frozen=True)
class Interval:
    """A stretch of time; `start` and `end` are seconds since the run was submitted.

    `event` and `end_event` are the numbers of the events that began and ended it; nothing ended it where that is 0.
    """

    kind: IntervalKind
    label: str
    start: float
    end: float
    event: int
    note: str = ""
    failed: bool = False
    running: bool = False
    end_event: int = 0

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


# Which event ends what another one began. A key names the thing that both are about: the run, a gate or a call.
_BEGINS: dict[str, IntervalKind] = {
    EventKind.RUN_SUBMITTED: IntervalKind.QUEUED,
    EventKind.MODEL_REQUEST: IntervalKind.MODEL,
    EventKind.TOOL_STARTED: IntervalKind.TOOL,
    EventKind.GATE_OPENED: IntervalKind.APPROVAL,
    EventKind.GATE_UNDONE: IntervalKind.APPROVAL,
}
_ENDS: dict[str, tuple[IntervalKind, ...]] = {
    EventKind.RUN_STARTED: (IntervalKind.QUEUED,),
    EventKind.MODEL_RESPONSE: (IntervalKind.MODEL,),
    EventKind.MODEL_ERROR: (IntervalKind.MODEL,),
    EventKind.TOOL_FINISHED: (IntervalKind.TOOL,),
    EventKind.TOOL_RETRY: (IntervalKind.TOOL,),
    EventKind.TOOL_UNKNOWN: (IntervalKind.TOOL,),
    EventKind.GATE_DECIDED: (IntervalKind.APPROVAL,),
    EventKind.GATE_CLOSED: (IntervalKind.APPROVAL, IntervalKind.HOLD),
    EventKind.GATE_UNDONE: (IntervalKind.HOLD,),
    EventKind.PERMIT_ISSUED: (IntervalKind.APPROVAL, IntervalKind.HOLD),
}
_FAILURES = frozenset({EventKind.MODEL_ERROR, EventKind.TOOL_RETRY, EventKind.TOOL_UNKNOWN})
_ABOUT_GATE = frozenset({IntervalKind.APPROVAL, IntervalKind.HOLD})
_ABOUT_CALL = frozenset({IntervalKind.TOOL})

_Key = tuple[IntervalKind, str]


def _key(kind: IntervalKind, event: Event) -> _Key:
    if kind in _ABOUT_GATE:
        return kind, event.gate_id
    return kind, event.call_id if kind in _ABOUT_CALL else ""


@dataclass(frozen=True)
class _Begun:
    label: str
    start: float
    event: int


class _Reading:
    """One pass over a run's events, oldest first."""

    def __init__(self, origin: datetime) -> None:
        self._origin = origin
        self._begun: dict[_Key, _Begun] = {}
        self._models = 0
        self.found: list[Interval] = []

    def take(self, event: Event) -> None:
        for kind in _ENDS.get(event.kind, ()):
            self._end(_key(kind, event), event)
        if event.kind in _BEGINS:
            self._begin(_BEGINS[EventKind(event.kind)], event)
        elif event.kind == EventKind.GATE_DECIDED and event.payload.get("state") == "pending":
            # A first vote of several: the gate waits on.
            self._begin(IntervalKind.APPROVAL, event)
        elif event.kind == EventKind.GATE_DECIDED and event.payload.get("state") == "approved":
            self._begin(IntervalKind.HOLD, event)
        elif event.kind == EventKind.RUN_FINISHED:
            self.close(event.at, running=False)

    def close(self, at: datetime, *, running: bool) -> None:
        """End what is still open."""
        for (kind, _), begun in self._begun.items():
            self.found.append(
                Interval(kind, begun.label, begun.start, self._seconds(at, begun.start), begun.event, running=running)
            )
        self._begun.clear()

    def _seconds(self, at: datetime, after: float = 0.0) -> float:
        # Clocks of two workers may disagree by a little; time never runs backwards on the page.
        return max((at - self._origin).total_seconds(), after, 0.0)

    def _begin(self, kind: IntervalKind, event: Event) -> None:
        # Begun again without an end: its worker was lost.
        self._end(_key(kind, event), event)
        self._begun[_key(kind, event)] = _Begun(self._label(kind, event), self._seconds(event.at), event.number)

    def _label(self, kind: IntervalKind, event: Event) -> str:
        if kind is IntervalKind.MODEL:
            self._models += 1
            return f"model, call {self._models}"
        if kind is IntervalKind.QUEUED:
            return "in the queue"
        return event.text("tool") or kind.value

    def _end(self, key: _Key, event: Event) -> None:
        begun = self._begun.pop(key, None)
        if begun is None:
            return
        failed = event.kind in _FAILURES or event.text("state") in {"failed", "unknown"}
        self.found.append(
            Interval(
                key[0],
                begun.label,
                begun.start,
                self._seconds(event.at, begun.start),
                begun.event,
                note=_note(key[0], event),
                failed=failed,
                end_event=event.number,
            )
        )


def _note(kind: IntervalKind, event: Event) -> str:
    """Who or what ended a wait; how a piece of work ended."""
    if kind is IntervalKind.APPROVAL and event.kind == EventKind.GATE_DECIDED:
        verb = {"approve": "approved", "reject": "rejected", "respond": "answered"}.get(
            event.text("kind"), event.text("kind") or "decided"
        )
        return f"{verb} by {event.actor}" if event.actor else verb
    if kind in _ABOUT_GATE:
        return "" if event.kind == EventKind.PERMIT_ISSUED else event.text("state")
    return event.text("kind") if event.kind == EventKind.MODEL_ERROR else event.text("outcome")


def intervals(events: Sequence[Event], now: datetime) -> list[Interval]:
    """The intervals of a run in the order in which they began; what has not ended yet ends at `now` and is `running`.

    `events` are in order of their numbers. The first one's time is second 0.
    """
    if not events:
        return []
    reading = _Reading(events[0].at)
    for event in events:
        reading.take(event)
    reading.close(max(now, events[-1].at), running=True)
    return sorted(reading.found, key=lambda each: (each.start, each.event))


def covered(found: Iterable[Interval]) -> list[tuple[float, float]]:
    """The union of intervals as disjoint stretches, in order."""
    union: list[tuple[float, float]] = []
    for start, end in sorted((each.start, each.end) for each in found):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((start, end))
    return union


def seconds_in(found: Iterable[Interval]) -> float:
    """Wall-clock seconds that lie in any of the intervals; overlaps count once."""
    return sum(end - start for start, end in covered(found))
