"""Two runs side by side: where their tool calls, arguments, verdicts and outcomes part. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import orjson

from traces.intervals import Event
from traces.kinds import EventKind


@dataclass(frozen=True)
class Call:
    """One proposed tool call of a recorded run, as stored: redacted."""

    tool: str
    arguments: str
    verdict: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class Divergence:
    """One difference: `kind` is "tool", "arguments", "verdict", "outcome", "missing" or "added".

    `position` counts calls from 1 in the first run, or in the second one for a call that was added.
    """

    kind: str
    position: int
    before: str
    after: str


def _text(arguments: Any) -> str:
    """Arguments as they are shown: what the model wrote is text already."""
    return arguments if isinstance(arguments, str) else orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()


def _proposed(events: Sequence[Event]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for event in events:
        calls: Any = event.payload.get("calls") if event.kind == EventKind.MODEL_RESPONSE else None
        listed = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        found += [(str(call.get("tool", "")), _text(call.get("arguments"))) for call in listed]
    return found


def calls_of(events: Sequence[Event]) -> list[Call]:
    """The tool calls of a run in the order in which the model proposed them."""
    verdicts: dict[str, str] = {}
    outcomes: dict[str, str] = {}
    for event in events:
        if event.kind == EventKind.POLICY_VERDICT:
            verdicts.setdefault(event.call_id, event.text("verdict"))
        elif event.kind in {EventKind.TOOL_FINISHED, EventKind.TOOL_UNKNOWN}:
            outcomes[event.call_id] = event.text("state") or "unknown"
    # A reply's calls are judged in its own order, so the n-th verdict belongs to the n-th proposed call.
    ids = list(verdicts)
    return [
        Call(tool, arguments, verdicts.get(call_id, ""), outcomes.get(call_id, ""))
        for (tool, arguments), call_id in zip(_proposed(events), [*ids, *[""] * len(events)], strict=False)
    ]


def _pair(position: int, before: Call, after: Call) -> Iterator[Divergence]:
    if before.tool != after.tool:
        yield Divergence("tool", position, before.tool, after.tool)
        return
    for kind in ("arguments", "verdict", "outcome"):
        old, new = getattr(before, kind), getattr(after, kind)
        if old != new:
            yield Divergence(kind, position, old, new)


def divergences(before: Sequence[Event], after: Sequence[Event]) -> list[Divergence]:
    """Every difference between the tool calls of two runs; empty where the second repeated the first."""
    old, new = calls_of(before), calls_of(after)
    matcher = SequenceMatcher(None, [call.tool for call in old], [call.tool for call in new], autojunk=False)
    found: list[Divergence] = []
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        paired = min(end - start, other_end - other_start)
        for step in range(paired):
            found += _pair(start + step + 1, old[start + step], new[other_start + step])
        found += [Divergence("missing", place + 1, old[place].tool, "") for place in range(start + paired, end)]
        found += [
            Divergence("added", place + 1, "", new[place].tool) for place in range(other_start + paired, other_end)
        ]
    return found
