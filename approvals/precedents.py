"""What this tenant decided about calls like one that waits. Computed when the gate is viewed, never stored with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Prefetch

from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.states import GateState

_OUTCOMES: dict[str, tuple[DecisionKind, str]] = {
    GateState.REJECTED: (DecisionKind.REJECT, "rejected"),
    GateState.ANSWERED: (DecisionKind.RESPOND, "answered"),
}


@dataclass(frozen=True)
class Precedent:
    """One decided gate. `outcome` is "approved", "rejected" or "answered"; `reason` (redacted) is the decider's own.

    `same_arguments` says that a keyed fingerprint of tool and arguments is equal, without telling them.
    """

    gate_id: UUID
    outcome: str
    by: str
    at: datetime
    reason: str
    agent_name: str
    same_arguments: bool


def similar(gate: ApprovalGate, limit: int = 5) -> tuple[Precedent, ...]:
    """The past decisions closest to this gate: equal arguments first, then the same agent, then the newest."""
    decisions = Decision.objects.standing().select_related("decided_by").in_order()
    found = ApprovalGate.objects.like(gate).prefetch_related(Prefetch("decisions", queryset=decisions))[:limit]
    return tuple(_precedent(past, gate) for past in found)


def _precedent(past: ApprovalGate, gate: ApprovalGate) -> Precedent:
    kind, word = _OUTCOMES.get(past.state, (DecisionKind.APPROVE, "approved"))
    decisions: Sequence[Decision] = [decision for decision in past.decisions.all() if decision.kind == kind]
    return Precedent(
        gate_id=past.pk,
        outcome=word,
        by=" and ".join(decision.decided_by.display_name for decision in decisions),
        at=past.decided_at or past.opened_at,
        reason=" ".join(decision.reason for decision in decisions if decision.reason),
        agent_name=past.agent_name,
        same_arguments=past.arguments_fingerprint == gate.arguments_fingerprint,
    )
