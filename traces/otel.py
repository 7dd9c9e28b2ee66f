"""A run's trace in OpenTelemetry's terms: OTLP/JSON spans under the GenAI semantic conventions. Pure.

The only place that knows OpenTelemetry's names; they are still in development there (semantic conventions 1.37).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from traces.intervals import Event, Interval, IntervalKind, intervals

SERVICE = "routekit-site"
SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2

_OPERATION = {IntervalKind.MODEL: "chat", IntervalKind.TOOL: "execute_tool"}
_RENAMED = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "model": "gen_ai.request.model",
    "finish_reason": "gen_ai.response.finish_reasons",
}


@dataclass(frozen=True)
class RunFacts:
    """What is said of the run as a whole."""

    run_id: UUID
    agent: str
    state: str


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": value if isinstance(value, str) else orjson.dumps(value).decode()}


def _attributes(values: Mapping[str, object]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value not in (None, "")]


def _span_id(run_id: UUID, key: str) -> str:
    return hashlib.sha256(f"{run_id}:{key}".encode()).hexdigest()[:16]


def _nanoseconds(at: datetime) -> str:
    return str(int(at.timestamp() * 1_000_000) * 1000)


def _facts_of(interval: Interval, begun: Event, ended: Event | None) -> dict[str, object]:
    facts: dict[str, object] = {"routekit.kind": interval.kind.value, "routekit.note": interval.note}
    if interval.kind in _OPERATION:
        facts["gen_ai.operation.name"] = _OPERATION[interval.kind]
    if interval.kind is IntervalKind.TOOL:
        facts |= {"gen_ai.tool.name": begun.text("tool"), "gen_ai.tool.call.id": begun.call_id}
    if begun.gate_id:
        facts["routekit.gate.id"] = begun.gate_id
    told = {**begun.payload, **(ended.payload if ended else {})}
    for key, name in _RENAMED.items():
        if interval.kind is IntervalKind.MODEL and told.get(key) is not None:
            facts[name] = [told[key]] if key == "finish_reason" else told[key]
    return facts


def _name(interval: Interval) -> str:
    if interval.kind is IntervalKind.MODEL:
        return "chat"
    if interval.kind is IntervalKind.TOOL:
        return f"execute_tool {interval.label}"
    return interval.kind.value if interval.label == interval.kind else f"{interval.kind} {interval.label}"


def _span(run: RunFacts, interval: Interval, events: Mapping[int, Event], origin: datetime) -> dict[str, Any]:
    begun = events[interval.event]
    return {
        "traceId": run.run_id.hex,
        "spanId": _span_id(run.run_id, f"{interval.kind}:{interval.event}"),
        "parentSpanId": _span_id(run.run_id, "run"),
        "name": _name(interval),
        "kind": _CLIENT if interval.kind is IntervalKind.MODEL else _INTERNAL,
        "startTimeUnixNano": _nanoseconds(origin + timedelta(seconds=interval.start)),
        "endTimeUnixNano": _nanoseconds(origin + timedelta(seconds=interval.end)),
        "attributes": _attributes(_facts_of(interval, begun, events.get(interval.end_event))),
        "status": {"code": _ERROR} if interval.failed else {"code": _OK},
    }


def _root(run: RunFacts, events: Sequence[Event], end: datetime) -> dict[str, Any]:
    told = [
        {
            "timeUnixNano": _nanoseconds(event.at),
            "name": f"routekit.{event.kind}",
            "attributes": _attributes(
                {"routekit.actor": event.actor, "routekit.payload": orjson.dumps(dict(event.payload)).decode()}
            ),
        }
        for event in events
    ]
    facts = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": run.agent,
        "gen_ai.conversation.id": str(run.run_id),
        "routekit.state": run.state,
    }
    return {
        "traceId": run.run_id.hex,
        "spanId": _span_id(run.run_id, "run"),
        "name": f"invoke_agent {run.agent}",
        "kind": _INTERNAL,
        "startTimeUnixNano": _nanoseconds(events[0].at),
        "endTimeUnixNano": _nanoseconds(end),
        "attributes": _attributes(facts),
        "events": told,
        "status": {"code": _ERROR if run.state in {"failed", "timed_out"} else _OK},
    }


def otlp(run: RunFacts, events: Sequence[Event], now: datetime) -> dict[str, Any]:
    """The run as an OTLP/JSON `ExportTraceServiceRequest`: a root, a child for each model call, tool call and wait.

    `events` are the run's, oldest first; what has not ended ends at `now`. A run without events has no spans.
    """
    spans: list[dict[str, Any]] = []
    if events:
        found, origin = intervals(events, now), events[0].at
        by_number = {event.number: event for event in events}
        end = max([events[-1].at, *(origin + timedelta(seconds=each.end) for each in found)])
        spans = [_root(run, events, end), *(_span(run, each, by_number, origin) for each in found)]
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": SERVICE})},
                "scopeSpans": [{"scope": {"name": "routekit.traces"}, "spans": spans, "schemaUrl": SCHEMA}],
            }
        ]
    }
