"""What agents took lately: their runs' steps, calls, tokens, cost and errors, and time worked against time waited.

A bounded look, whatever the size of the tables: the newest `MAX_RUNS` runs of a period.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from traces.intervals import Event, intervals
from traces.kinds import EventKind
from traces.models import Trace, TraceEvent
from traces.sealing import payload_of
from traces.timeline import Figures, figures_of
from traces.waterfall import duration_text

MAX_RUNS = 1000
# Only these say in their payload what the figures need; the payloads of all others stay where they are.
_TELLING = (EventKind.GATE_DECIDED, EventKind.TOOL_FINISHED)


@dataclass(frozen=True)
class AgentFigures:
    """What one agent's runs took together. Times are sums of wall-clock seconds of each run."""

    agent: str
    runs: int
    succeeded: int
    steps: int
    model_calls: int
    tool_calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_microdollars: int
    worked_seconds: float
    waited_seconds: float

    @property
    def worked_text(self) -> str:
        """How long the model and the tools worked."""
        return duration_text(self.worked_seconds)

    @property
    def waited_text(self) -> str:
        """How long the runs waited for people."""
        return duration_text(self.waited_seconds)

    @property
    def waited_share(self) -> int:
        """Percent of working and waiting together that was waiting."""
        total = self.worked_seconds + self.waited_seconds
        return round(100 * self.waited_seconds / total) if total else 0


@dataclass(frozen=True)
class Analysis:
    """Figures by agent, most expensive first; `capped` when there were more runs than were looked at."""

    agents: tuple[AgentFigures, ...]
    runs: int
    capped: bool


def analysis_of(tenant_ids: Sequence[int], *, days: int, now: datetime) -> Analysis:
    """What the agents of these tenants took in the last `days` days. Three statements."""
    since = now - timedelta(days=days)
    newest = Trace.objects.in_tenants(list(tenant_ids)).filter(started_at__gte=since).order_by("-started_at", "-run_id")
    heads = list(newest.defer("prompt", "prompt_sealed", "tools", "reviewers", "decisions")[: MAX_RUNS + 1])
    capped, heads = len(heads) > MAX_RUNS, heads[:MAX_RUNS]
    events = _events_of([head.pk for head in heads])
    by_agent: dict[str, list[Trace]] = defaultdict(list)
    for head in heads:
        by_agent[head.agent_name].append(head)
    found = [_together(agent, runs, events, now) for agent, runs in by_agent.items()]
    ordered = sorted(found, key=lambda each: (-each.cost_microdollars, -each.steps, each.agent))
    return Analysis(tuple(ordered), len(heads), capped)


def _events_of(run_ids: list[UUID]) -> dict[UUID, list[Event]]:
    rows = TraceEvent.objects.filter(trace_id__in=run_ids)
    told = {
        (row.trace_id, row.number): payload_of(row)
        for row in rows.filter(kind__in=_TELLING).only("trace_id", "number", "payload", "payload_sealed")
    }
    found: dict[UUID, list[Event]] = defaultdict(list)
    columns = ("trace_id", "number", "kind", "at", "call_id", "gate_id")
    for run_id, number, kind, at, call_id, gate_id in rows.order_by("trace_id", "number").values_list(*columns):
        payload = told.get((run_id, number), {})
        found[run_id].append(Event(number, kind, at, call_id, str(gate_id or ""), payload=payload))
    return found


def _together(agent: str, runs: Sequence[Trace], events: dict[UUID, list[Event]], now: datetime) -> AgentFigures:
    each = [_figures(events.get(run.pk, []), now) for run in runs]
    return AgentFigures(
        agent=agent,
        runs=len(runs),
        succeeded=sum(run.state == "succeeded" for run in runs),
        steps=_sum(figures.steps for figures in each),
        model_calls=_sum(figures.model_calls for figures in each),
        tool_calls=_sum(figures.tool_calls for figures in each),
        errors=_sum(figures.errors for figures in each),
        input_tokens=_sum(run.input_tokens for run in runs),
        output_tokens=_sum(run.output_tokens for run in runs),
        cost_microdollars=_sum(run.cost_microdollars for run in runs),
        worked_seconds=sum(figures.worked_seconds for figures in each),
        waited_seconds=sum(figures.waited_seconds for figures in each),
    )


def _figures(events: Sequence[Event], now: datetime) -> Figures:
    return figures_of(events, intervals(events, now))


def _sum(values: Iterable[int]) -> int:
    return sum(values)
