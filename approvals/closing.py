"""What closes a gate besides a decision: the clock, its run's end, an approval that no longer holds. Part of `gates`.

Each step (rows, traces, feed) is taken for all gates before the next one: the one lock order.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import DateTimeField

from approvals import publishing
from approvals.binding import change_of
from approvals.models import ApprovalGate, ApprovalGateQuerySet
from approvals.moving import move_gate, needs_transaction
from approvals.presentation import redacted_change
from approvals.redemption import Difference, Drifted
from approvals.states import GateMove, GateState
from approvals.types import Deny, Verdict
from routekit_site.tenancy.statements import Query, slot
from traces.kinds import EventKind


@needs_transaction
def expire(now: datetime, limit: int = 500) -> int:
    """Close the gates that nobody decided in time, oldest first; answers how many. An expired gate denies its call."""
    overdue = ApprovalGate.objects.overdue(now).order_by("decide_by", "id")
    gates = list(overdue.select_for_update(skip_locked=True)[:limit])
    _close(gates, GateMove.EXPIRE, now, {"reason": "Nobody decided in time."})
    publishing.ring(gates)
    return len(gates)


@needs_transaction
def lapse(now: datetime, limit: int = 500) -> int:
    """Close the approvals that were not used in time, oldest first; answers how many."""
    unused = ApprovalGate.objects.unused(now).order_by("execute_by", "id")
    gates = list(unused.select_for_update(skip_locked=True)[:limit])
    _close(gates, GateMove.LAPSE, now, {"reason": "The approval was not used in time."})
    publishing.ring(gates)
    return len(gates)


@needs_transaction
def lock_open(run_id: uuid.UUID) -> None:
    """Lock a run's open gates: for whoever tells of something before it withdraws them.

    What is told locks the trace, and a decision on one of these gates has the gate and wants the trace.
    """
    list(ApprovalGate.objects.of_run(run_id).open().order_by("id").select_for_update().values_list("pk"))


@needs_transaction
def withdraw(run_id: uuid.UUID, *, now: datetime, why: str) -> int:
    """Close every open gate of a run that was cancelled or has ended; answers how many.

    A gate that waits is WITHDRAWN; an approval that was not used is LAPSED. Neither can let its call run any more.
    """
    return len(_withdraw(ApprovalGate.objects.of_run(run_id), now, why))


@needs_transaction
def withdraw_tool(tenant_id: int, tool: str, agent_id: str, *, now: datetime, why: str) -> int:
    """Close every open gate of a tool, of one agent or (empty) of all in the tenant, and wake their runs."""
    found = ApprovalGate.objects.in_tenant(tenant_id).filter(tool=tool)
    gates = _withdraw(found.filter(agent_id=agent_id) if agent_id else found, now, why)
    publishing.ring(gates)
    return len(gates)


def _withdraw(found: ApprovalGateQuerySet, now: datetime, why: str) -> list[ApprovalGate]:
    gates = list(found.open().order_by("id").select_for_update())
    waiting = [gate for gate in gates if gate.state == GateState.PENDING]
    approved = [gate for gate in gates if gate.state == GateState.APPROVED]
    for gate in waiting:
        move_gate(gate, GateMove.WITHDRAW, closed_at=now)
    for gate in approved:
        move_gate(gate, GateMove.LAPSE, closed_at=now)
    publishing.tell_closed(gates, now, {"reason": why})
    return gates


@needs_transaction
def escalate(now: datetime, limit: int = 500) -> int:
    """Call the second group for gates that nobody decided in half of their time, oldest first; answers how many."""
    due = ApprovalGate.objects.to_escalate(now).order_by("escalate_at", "id")
    gates = list(due.select_for_update(skip_locked=True)[:limit])
    for gate in gates:
        move_gate(gate, None, escalated_at=now)
    for gate in sorted(gates, key=lambda gate: (gate.run_id, gate.id)):
        publishing.record(gate, EventKind.GATE_ESCALATED, now, {"to": list(gate.escalation_roles)})
    for gate in sorted(gates, key=lambda gate: (gate.tenant_id, gate.id)):
        publishing.announce(gate, now, escalated=1)
    return len(gates)


def refuse(gate: ApprovalGate, found: Sequence[Difference], verdict: Verdict, now: datetime) -> Drifted:
    """Close an approval that no longer holds, in the transaction of `gates.redeem`, and say what differs."""
    change = redacted_change(gate.tenant_id, change_of(list(found)))
    move_gate(gate, GateMove.LAPSE, closed_at=now)
    tell_of_forgery(gate, found, change, now)
    publishing.tell_closed([gate], now, {"reasons": _reasons(change)})
    return Drifted(change, verdict if isinstance(verdict, Deny) else None)


def tell_of_forgery(gate: ApprovalGate, found: Sequence[Difference], change: Mapping[str, Any], now: datetime) -> None:
    """Note a violation where what differs is the stored gate or its decisions, which nobody changes by the rules."""
    if any(item["fact"] == "integrity" for item in found):
        publishing.record(gate, EventKind.VIOLATION, now, {"reasons": _reasons(change)})


def _reasons(change: Mapping[str, Any]) -> list[str]:
    return [item["text"] for item in change["differences"]]


_NOW = slot("now", DateTimeField())
# In the order of an index: PostgreSQL takes any moment for one that a third of the gates have passed, and would look
# for the first of these in the table itself.
_OVERDUE = Query(lambda: ApprovalGate.objects.overdue(_NOW).order_by("decide_by").values_list("pk")[:1])
_UNUSED = Query(lambda: ApprovalGate.objects.unused(_NOW).order_by("execute_by").values_list("pk")[:1])
_TO_ESCALATE = Query(lambda: ApprovalGate.objects.to_escalate(_NOW).order_by("escalate_at").values_list("pk")[:1])


def due(now: datetime) -> list[Callable[..., int]]:
    """Those of `expire`, `lapse` and `escalate` that some gate's clock calls for; locks nothing."""
    clocks = ((_OVERDUE, expire), (_UNUSED, lapse), (_TO_ESCALATE, escalate))
    return [close for gates, close in clocks if gates.rows(now=now)]


def _close(gates: Sequence[ApprovalGate], move: GateMove, now: datetime, facts: Mapping[str, Any]) -> None:
    for gate in gates:
        move_gate(gate, move, closed_at=now)
    publishing.tell_closed(gates, now, facts)
