"""The read side of a trace: step tree, waterfall and figures of one run, for the admin and for the run page.

Show it with `{% include "traces/_timeline.html" %}` and `static/css/timeline.css`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from traces.intervals import WORK, Event, Interval, IntervalKind, intervals, seconds_in
from traces.kinds import EventKind
from traces.models import TraceEvent
from traces.sealing import is_locked, payload_of
from traces.waterfall import ROW_HEIGHT, Bar, bars, duration_text, shortens

MAX_EVENTS = 2000
MAX_BARS = 200
_ERRORS = frozenset({EventKind.MODEL_ERROR, EventKind.ERROR, EventKind.VIOLATION, EventKind.TOOL_UNKNOWN})
_ABOUT = ("verdict", "reason", "message", "state", "outcome", "kind", "finish_reason", "detail", "problem", "told")


@dataclass(frozen=True)
class EventLine:
    """One event as a line with its payload behind it."""

    event: Event
    after: float

    @property
    def after_text(self) -> str:
        """The time since the run was submitted."""
        return duration_text(self.after)

    @property
    def gist(self) -> str:
        """A few words of the payload: what was said, and how it ended."""
        said = [self.event.text(key) for key in _ABOUT]
        return " · ".join(dict.fromkeys(text for text in said if text))[:240]


@dataclass
class CallNode:
    """All that happened to one tool call."""

    call_id: str
    tool: str = ""
    state: str = ""
    gate_id: str = ""
    lines: list[EventLine] = field(default_factory=list)

    def add(self, line: EventLine) -> None:
        """Take one more event of the call."""
        event = line.event
        self.lines.append(line)
        self.tool = self.tool or event.text("tool")
        self.gate_id = self.gate_id or event.gate_id
        self.state = event.text("state") or event.text("verdict") or self.state


@dataclass
class StepNode:
    """One turn of the model, and the calls that it led to. Step 0 is the job as submitted."""

    number: int
    title: str
    lines: list[EventLine] = field(default_factory=list)
    calls: list[CallNode] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """What a run took. Seconds are wall-clock, overlaps counted once."""

    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_seconds: float = 0.0
    worked_seconds: float = 0.0
    waited_seconds: float = 0.0

    @property
    def total_tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class Timeline:
    """A run's trace as the pages show it. `bars` are drawn in a picture `height` pixels high and 100 % wide.

    `left_out` later events are not shown; the payloads of `locked` events can't be decrypted.
    """

    run_id: UUID
    steps: tuple[StepNode, ...]
    bars: tuple[Bar, ...]
    figures: Figures
    left_out: int = 0
    locked: int = 0

    @property
    def height(self) -> int:
        """Pixels."""
        return max(len(self.bars), 1) * ROW_HEIGHT

    @property
    def shortened(self) -> bool:
        """Whether the waits are drawn narrower than they were."""
        return shortens([bar.interval for bar in self.bars])

    @property
    def total_text(self) -> str:
        """How long the run took, or has taken so far."""
        return duration_text(self.figures.total_seconds)

    @property
    def worked_text(self) -> str:
        """How long the model and the tools worked."""
        return duration_text(self.figures.worked_seconds)

    @property
    def waited_text(self) -> str:
        """How long it waited for people."""
        return duration_text(self.figures.waited_seconds)

    @property
    def waits(self) -> tuple[Interval, ...]:
        """The stretches in which the run waited for a person."""
        return tuple(bar.interval for bar in self.bars if bar.interval.kind is IntervalKind.APPROVAL)


class _Tree:
    """Sorts events into steps and calls. A call stays with the step that proposed it, whenever it runs."""

    def __init__(self, origin: datetime) -> None:
        self._origin = origin
        self._calls: dict[str, CallNode] = {}
        self.steps: list[StepNode] = [StepNode(0, "Submitted")]

    def add(self, event: Event) -> None:
        line = EventLine(event, max((event.at - self._origin).total_seconds(), 0.0))
        if event.kind == EventKind.MODEL_REQUEST:
            number = len(self.steps)
            self.steps.append(StepNode(number, f"Step {number}"))
        if not event.call_id:
            self.steps[-1].lines.append(line)
            return
        if event.call_id not in self._calls:
            self._calls[event.call_id] = CallNode(event.call_id)
            self.steps[-1].calls.append(self._calls[event.call_id])
        self._calls[event.call_id].add(line)


def _number(event: Event, key: str) -> int:
    value = event.payload.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _is_error(event: Event) -> bool:
    return event.kind in _ERRORS or (event.kind == EventKind.TOOL_FINISHED and event.text("state") == "failed")


def figures_of(events: Sequence[Event], found: Sequence[Interval]) -> Figures:
    """Count a run's events; `found` are its intervals."""
    kinds = [event.kind for event in events]
    responses = [event for event in events if event.kind == EventKind.MODEL_RESPONSE]
    tools = kinds.count(EventKind.TOOL_STARTED)
    return Figures(
        steps=len(responses) + tools,
        model_calls=len(responses),
        tool_calls=tools,
        errors=sum(map(_is_error, events)),
        input_tokens=sum(_number(event, "input_tokens") for event in responses),
        output_tokens=sum(_number(event, "output_tokens") for event in responses),
        total_seconds=max((each.end for each in found), default=0.0),
        worked_seconds=seconds_in(each for each in found if each.kind in WORK),
        waited_seconds=seconds_in(each for each in found if each.kind is IntervalKind.APPROVAL),
    )


def timeline_of(run_id: UUID, events: Sequence[Event], now: datetime, *, left_out: int = 0) -> Timeline:
    """The timeline of events that are at hand, oldest first."""
    if not events:
        return Timeline(run_id=run_id, steps=(), bars=(), figures=Figures(), left_out=left_out)
    found = intervals(events, now)
    tree = _Tree(events[0].at)
    for event in events:
        tree.add(event)
    return Timeline(
        run_id=run_id,
        steps=tuple(tree.steps),
        bars=bars(found[:MAX_BARS]),
        figures=figures_of(events, found),
        left_out=left_out,
        locked=sum(is_locked(event.payload) for event in events),
    )


def event_of(row: TraceEvent) -> Event:
    """A stored event for the read side."""
    return Event(
        number=row.number,
        kind=row.kind,
        at=row.at,
        call_id=row.call_id,
        gate_id=str(row.gate_id) if row.gate_id else "",
        actor=row.actor,
        payload=payload_of(row),
    )


def events_of_run(run_id: UUID) -> list[Event]:
    """The first `MAX_EVENTS` events of a run, oldest first."""
    return [event_of(row) for row in TraceEvent.objects.filter(trace_id=run_id).order_by("number")[:MAX_EVENTS]]


def run_timeline(run_id: UUID, now: datetime | None = None) -> Timeline:
    """The timeline of a run: its first `MAX_EVENTS` events. Two statements. A run without a trace has an empty one.

    `now` is where bars of what still goes on end; the present by default.
    """
    rows = list(TraceEvent.objects.filter(trace_id=run_id).order_by("number")[: MAX_EVENTS + 1])
    events = [event_of(row) for row in rows[:MAX_EVENTS]]
    left_out = 0
    if len(rows) > MAX_EVENTS:
        last = TraceEvent.objects.filter(trace_id=run_id).order_by("-number").values_list("number", flat=True).first()
        left_out = (last or 0) - events[-1].number
    return timeline_of(run_id, events, now or timezone.now(), left_out=left_out)
