"""Compares a re-run with a trace: what was recorded of a run, and every place where a replay of it parts from that.

The replay itself needs the engine's turns and today's policy, so floor 3 drives it (`agents.replay`) and hands over
what came of it as a `Course`. Values are compared raw and shown redacted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from uuid import UUID

from traces.comparison import Divergence
from traces.intervals import Event
from traces.kinds import EventKind
from traces.models import Trace, TraceEvent
from traces.payloads import JSON
from traces.sealing import is_locked
from traces.timeline import event_of

__all__ = ["Course", "Divergence", "Recording", "Said", "Taken", "compare", "recording_of", "tenant_of"]

# A call that policy sent to a person and that could not be shown to one was denied for that; policy said the same.
_SAME_VERDICT = {"not_presentable": "needs_approval"}


@dataclass(frozen=True)
class Said:
    """What policy said of one call: "allow", "needs_approval", "deny", or why it could not be judged."""

    verdict: str
    rule: str = ""
    reason: str = ""

    def __str__(self) -> str:
        why = " · ".join(part for part in (self.rule, self.reason) if part)
        return f"{self.verdict.replace('_', ' ')} ({why})" if why else self.verdict.replace("_", " ")

    def agrees(self, other: Said) -> bool:
        """Whether both come to the same; by which rule does not count."""
        mine, theirs = (_SAME_VERDICT.get(each.verdict, each.verdict) for each in (self, other))
        return mine == theirs


@dataclass(frozen=True)
class Taken:
    """One tool call in a course. `arguments` may be raw and are never shown; `shown` are the redacted ones, as text."""

    tool: str
    arguments: JSON = field(repr=False)
    shown: str
    said: Said | None = None


@dataclass(frozen=True)
class Course:
    """What a run did. `started` are the positions of its calls (from 1) in the order in which they ran.

    `end` is the state, with the reason where it did not succeed; `output` is redacted.
    """

    calls: tuple[Taken, ...]
    started: tuple[int, ...]
    end: str
    output: str


@dataclass(frozen=True)
class Recording:
    """What a trace says of a run. `locked` events could not be decrypted; `said` goes by call id."""

    events: int
    locked: int
    said: dict[str, Said]
    started: tuple[str, ...]


def recording_of(run_id: UUID) -> Recording:
    """Read the whole trace of a run. Of a run without a trace, or whose trace was deleted, `events` is 0."""
    events = locked = 0
    said: dict[str, Said] = {}
    started: dict[str, None] = {}
    for row in TraceEvent.objects.filter(trace_id=run_id).order_by("number").iterator(chunk_size=500):
        event = event_of(row)
        events += 1
        locked += is_locked(event.payload)
        if event.kind == EventKind.POLICY_VERDICT and event.call_id not in said:
            said[event.call_id] = _said(event)
        elif event.kind == EventKind.TOOL_STARTED:
            started.setdefault(event.call_id)
    known = {call_id: each for call_id, each in said.items() if each.verdict}
    return Recording(events, locked, known, tuple(started))


def tenant_of(run_id: UUID) -> int | None:
    """The tenant of a run's trace, for a run that is gone itself; None where there is no trace either."""
    return Trace.objects.filter(pk=run_id).values_list("tenant_id", flat=True).first()


def _said(event: Event) -> Said:
    return Said(event.text("verdict"), event.text("rule"), event.text("reason"))


def compare(recorded: Course, replayed: Course) -> tuple[Divergence, ...]:
    """Every difference, in the order of the calls; empty where the replay repeated the run.

    Kinds: "tool", "arguments", "verdict", "missing" and "added" (of a call), "order" (in which calls ran), "end" and
    "output". Positions count calls from 1 (of the replay for "added"); those of the run as a whole are 0.
    """
    found = list(_calls(recorded.calls, replayed.calls))
    if not found and recorded.started != replayed.started:
        found.append(Divergence("order", 0, _places(recorded.started), _places(replayed.started)))
    if recorded.end != replayed.end:
        found.append(Divergence("end", 0, recorded.end, replayed.end))
    if recorded.output != replayed.output:
        found.append(Divergence("output", 0, recorded.output, replayed.output))
    return tuple(found)


def _places(started: Sequence[int]) -> str:
    return ", ".join(map(str, started)) or "none ran"


def _calls(old: Sequence[Taken], new: Sequence[Taken]) -> Iterator[Divergence]:
    matcher = SequenceMatcher(None, [call.tool for call in old], [call.tool for call in new], autojunk=False)
    for _, start, end, other, other_end in matcher.get_opcodes():
        paired = min(end - start, other_end - other)
        for step in range(paired):
            yield from _pair(start + step + 1, old[start + step], new[other + step])
        for place in range(start + paired, end):
            yield Divergence("missing", place + 1, old[place].tool, "")
        for place in range(other + paired, other_end):
            yield Divergence("added", place + 1, "", new[place].tool)


def _pair(position: int, old: Taken, new: Taken) -> Iterator[Divergence]:
    if old.tool != new.tool:
        yield Divergence("tool", position, old.tool, new.tool)
        return
    if old.arguments != new.arguments:
        yield Divergence("arguments", position, old.shown, new.shown)
    if old.said is not None and new.said is not None and not old.said.agrees(new.said):
        yield Divergence("verdict", position, str(old.said), str(new.said))
