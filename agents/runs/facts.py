"""What `turn.next_step` needs to know, read off the rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from agents import turn
from agents.models import Run, ToolCall
from agents.runs.lease import worked
from agents.states import CallState
from approvals.states import UNDOABLE, GateState

_USED = ("steps", "input_tokens", "output_tokens", "cost_microdollars", "crashes")


def facts_of(run: Run, now: datetime, counted: Mapping[str, int] | None = None) -> turn.RunFacts:
    """The run's budgets and what was used of them; `counted` are columns that are about to be written."""
    used = {name: getattr(run, name) for name in _USED} | dict(counted or {})
    return turn.RunFacts(
        steps=used["steps"],
        max_steps=run.max_steps,
        tokens=used["input_tokens"] + used["output_tokens"],
        max_tokens=run.max_tokens,
        cost=used["cost_microdollars"],
        max_cost=run.max_cost_microdollars,
        worked=worked(run, now),
        max_worked=run.time_limit_seconds * 1000,
        crashes=used["crashes"],
        cancelled=run.cancel_requested_at is not None,
    )


def standing_of(call: ToolCall, now: datetime) -> turn.CallStanding:
    """Where a call stands; its gate must have been fetched with it."""
    return turn.CallStanding(str(call.id), CallState(call.state), undecided=is_undecided(call, now))


def is_undecided(call: ToolCall, now: datetime) -> bool:
    """Whether the call's gate waits for a person, or was decided and can still be undone."""
    gate = call.gate
    if gate is None:
        return False
    return gate.state == GateState.PENDING or (
        gate.state in UNDOABLE and gate.hold_until is not None and gate.hold_until > now
    )
