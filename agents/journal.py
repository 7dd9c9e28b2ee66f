"""What the rest of the house is told when a run moves: trace events, the trace's head, and one feed entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.transaction import atomic

from traces import ledger, live, recorder
from traces.gathering import gathered
from traces.kinds import EventKind, FeedTopic, LedgerKind

if TYPE_CHECKING:
    from agents.models import Run, ToolCall


@contextmanager
def transaction() -> Iterator[None]:
    """One durable transaction; what is told in it is gathered and written at its end."""
    with atomic(durable=True), gathered():
        yield


def note(
    run_id: UUID,
    kind: EventKind,
    payload: Mapping[str, Any],
    *,
    now: datetime,
    call: ToolCall | None = None,
    gate_id: UUID | None = None,
    actor: str = "",
) -> int:
    """Record one event of a run; returns its number. Needs an open transaction."""
    return recorder.record(
        run_id=run_id,
        kind=kind,
        payload=payload,
        now=now,
        call_id=str(call.id) if call is not None else "",
        gate_id=gate_id,
        actor=actor,
    )


def announce(run: Run, *, state: str, event: int, now: datetime) -> None:
    """Tell the tenant's open pages where the run stands. The last thing that a transaction does."""
    live.announce(
        tenant_id=run.tenant_id,
        topic=FeedTopic.RUN,
        subject_id=str(run.id),
        facts={"state": state, "submitter": run.submitter_id, "event": event},
        now=now,
    )


def executed(run: Run, call: ToolCall, *, now: datetime) -> None:
    """Write into the ledger that a call ran, or that nobody knows whether it did."""
    ledger.append(
        tenant_id=run.tenant_id,
        kind=LedgerKind.EXECUTION,
        actor=f"agent {run.agent.name}",
        facts={
            "run": str(run.id),
            "call": str(call.id),
            "gate": str(call.gate_id) if call.gate_id else None,
            "agent": run.agent_id,
            "agent_version": run.agent_version,
            "tool": call.tool,
            "arguments": call.arguments_digest,
            "state": str(call.state),
            "outcome": call.outcome,
            "attempt": call.attempts,
        },
        now=now,
    )
