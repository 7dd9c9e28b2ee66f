"""How a run stops: for good, for a person, or for a moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agents import integrity, journal, queue, turn
from agents.models import Run, ToolCall
from agents.runs.lease import Held, change, let_go, lock, move
from agents.states import RUN_FINISHED, CallState, RunState
from approvals import gates
from routekit_site.tenancy import faults
from routekit_site.tenancy.encryption import seal
from traces import recorder
from traces.kinds import EventKind
from traces.redactors import redact

_MAX_MESSAGE = 2000
_UNSETTLED = [CallState.PROPOSED, CallState.GATED, CallState.PERMITTED]


def finish(held: Held, ending: turn.Finish) -> None:
    """End a run for good: its open gates are withdrawn and its open calls closed.

    Raises:
        LeaseLost: somebody else holds the run now.
    """
    with journal.transaction():
        run, now = lock(held)
        close(run, ending, now)


def close(run: Run, ending: turn.Finish, now: datetime, **also: Any) -> None:
    """`finish`, inside the caller's transaction, for a run whose row it has locked; `also` are further columns."""
    output = redact(run.tenant_id, ending.output) if ending.output else ""
    message = str(redact(run.tenant_id, ending.message))[:_MAX_MESSAGE]
    move(
        run,
        ending.state,
        finished_at=now,
        wake_at=None,
        waiting_since=None,
        error_kind=ending.kind,
        error_message=message,
        output_redacted=str(output),
        **let_go(run, now),
        **also,
    )
    if ending.state is not RunState.SUCCEEDED:
        close_calls(run, now, why=message)
    payload = {"state": ending.state.value, "kind": ending.kind, "message": message, "output": ending.output}
    event = journal.note(run.id, EventKind.RUN_FINISHED, payload, now=now)
    recorder.note_summary(
        run_id=run.id,
        state=ending.state,
        finished_at=now,
        input_tokens=run.input_tokens,
        output_tokens=run.output_tokens,
        cost_microdollars=run.cost_microdollars,
    )
    journal.announce(run, state=ending.state, event=event, now=now)
    faults.point("finish.before_commit")


def close_calls(run: Run, now: datetime, *, why: str) -> None:
    """Withdraw the open gates of a run and close the calls that now will never run.

    A call that was running when its worker was lost stays UNKNOWN: nobody can say whether it took effect.
    """
    gates.withdraw(run.id, now=now, why=why)
    told = turn.words_for_withdrawn(why)
    withdrawn = {
        "outcome": "withdrawn",
        "finished_at": now,
        "result_sealed": seal(told),
        "result_redacted": redact(run.tenant_id, told),
        "result_digest": integrity.digest_of(run.tenant_id, told),
    }
    calls = list(ToolCall.objects.filter(run=run, state__in=[*_UNSETTLED, CallState.RUNNING]).in_order())
    for call in calls:
        if call.state != CallState.RUNNING:
            change(call, CallState.WITHDRAWN, **withdrawn)
            continue
        change(call, CallState.UNKNOWN, outcome="unknown", finished_at=now)
        journal.note(run.id, EventKind.TOOL_UNKNOWN, {"tool": call.tool, "attempt": call.attempts}, now=now, call=call)
        journal.executed(run, call, now=now)


def suspend(held: Held) -> bool:
    """Let go of a run until its gates are decided. False when one was decided meanwhile and there is work to do."""
    with journal.transaction():
        run, now = lock(held)
        waiting = list(ToolCall.objects.undecided(now).filter(run=run).select_related("gate").in_order())
        if not waiting or run.cancel_requested_at is not None:
            return False
        wait(run, waiting, now)
    return True


def wait(run: Run, waiting: Sequence[ToolCall], now: datetime, **also: Any) -> None:
    """`suspend`, inside the caller's transaction: `waiting` are the calls that people have to decide about."""
    move(run, RunState.WAITING, waiting_since=now, **let_go(run, now), **also)
    payload = {"gates": [str(call.gate_id) for call in waiting], "tools": [call.tool for call in waiting]}
    event = journal.note(run.id, EventKind.RUN_WAITING, payload, now=now)
    recorder.note_summary(run_id=run.id, state=RunState.WAITING)
    journal.announce(run, state=RunState.WAITING, event=event, now=now)
    ends = [call.gate.hold_until for call in waiting if call.gate is not None and call.gate.hold_until is not None]
    if len(ends) == len(waiting):
        queue.wake(run.id, after=max(0.0, (max(ends) - now).total_seconds()))


def let_rest(run: Run, now: datetime, *, until: datetime, why: str) -> None:
    """Put a run back into the queue until `until`, inside the caller's transaction, and ring for it then."""
    move(run, RunState.QUEUED, wake_at=until, **let_go(run, now))
    event = journal.note(run.id, EventKind.NOTE, {"queued_again": why, "until": until.isoformat()}, now=now)
    recorder.note_summary(run_id=run.id, state=RunState.QUEUED)
    journal.announce(run, state=RunState.QUEUED, event=event, now=now)
    queue.wake(run.id, after=max(0.0, (until - now).total_seconds()))


def release(held: Held, why: str) -> None:
    """Give a run back at once, for another worker to go on with."""
    with journal.transaction():
        run, now = lock(held)
        let_rest(run, now, until=now, why=why)


def is_finished(run: Run) -> bool:
    """Whether nothing more can happen to a run."""
    return RunState(run.state) in RUN_FINISHED
