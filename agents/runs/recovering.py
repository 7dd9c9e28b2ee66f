"""A worker died while it ran a call: nobody knows whether the call took effect.

An idempotent call is simply run again, under the same idempotency key (the call's id). For any other a person is asked,
by an ordinary gate for the same call that says what happened: approving means "it did not happen, run it", rejecting
means "it happened, or it must not be repeated". Never a silent second run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agents import journal
from agents.models import Run, ToolCall
from agents.runs.calling import ask_person, plan
from agents.runs.case import Case, open_case
from agents.runs.lease import Held, change, lock
from agents.runs.planning import Planned
from agents.states import CallState, RunState
from approvals import chains
from approvals.binding import change_of, difference
from approvals.presentation import redacted_change
from approvals.types import AllowanceFacts, AllowanceMode, Deny, Level, NeedsApproval, Verdict
from traces.kinds import EventKind

REASON = (
    "This call was started and its worker was lost before it could say what came of it. Approve only if you have made "
    "sure that it did NOT take effect: it will then be run. Reject if it took effect, or must not be repeated."
)


def recover(held: Held, run: Run, now: datetime, calls: Sequence[ToolCall]) -> None:
    """Sort out the calls that a lost worker left RUNNING. Raises `LeaseLost`."""
    case = open_case(run, now)
    planned = [found for call in calls if (found := plan(held, case, call)) is not None]
    with journal.transaction():
        locked, now = lock(held)
        event = 0
        for item in planned:
            event = _recover(locked, case, item, now)
        for item in planned:
            if item.call.state == CallState.UNKNOWN:
                journal.executed(locked, item.call, now=now)
        if event:
            journal.announce(locked, state=RunState.RUNNING, event=event, now=now)


def _recover(run: Run, case: Case, planned: Planned, now: datetime) -> int:
    call = planned.call
    facts = {"tool": call.tool, "attempt": call.attempts, "idempotent": planned.repeatable}
    change(call, CallState.UNKNOWN, outcome="unknown")
    if planned.repeatable and call.attempts <= case.runtime.max_retries:
        change(call, CallState.PERMITTED, outcome="")
        return journal.note(run.id, EventKind.TOOL_RETRY, {**facts, "after": "lost worker"}, now=now, call=call)
    # Told beside an earlier gate; a call that needed none is explained by the verdict's reason alone.
    asked_before = call.gate_id is not None
    explained = redacted_change(run.tenant_id, change_of([difference("call", REASON)])) if asked_before else None
    ask_person(case, planned, unknown_outcome(case, call, planned.verdict), now=now, difference=explained)
    return journal.note(run.id, EventKind.TOOL_UNKNOWN, facts, now=now, call=call, gate_id=call.gate_id)


def unknown_outcome(case: Case, call: ToolCall, verdict: Verdict) -> NeedsApproval:
    """What the reviewer reads as the reason, with the approvers that the tenant wants for this tool.

    A call that a person was asked about asks for no less than it did, its chain included (`approvals.chains`).
    `verdict` is what policy says of it by itself, now.
    """
    allowance = case.facts.allowances.get(call.tool) or AllowanceFacts(call.tool, AllowanceMode.DENY)
    asked = NeedsApproval(
        Level.GATE,
        "unknown outcome",
        REASON,
        approvers=allowance.approvers,
        decide_by_seconds=allowance.decide_by_seconds,
        execute_by_seconds=allowance.execute_by_seconds,
    )
    if call.gate is None:
        return asked
    again = chains.again(asked if isinstance(verdict, Deny) else verdict, call.gate.presentation, allowance, REASON)
    return replace(again, level=asked.level, rule=asked.rule, reason=asked.reason)
