"""What this tenant decided about calls like one that waits. Computed when the gate is viewed, never stored with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Case, Prefetch, When

from approvals.models import ApprovalGate, ApprovalGateQuerySet, Decision, DecisionKind
from approvals.states import GateState

# Among so many of the tool's newest decisions the same agent's are sought: a tenant may have decided a million.
RECENT = 500

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
    """The past decisions closest to this gate: equal arguments first, then the same agent's of late, then the newest.

    Each kind is read off an index, the newest first, so that it costs the same however many were ever decided.
    """
    decided = ApprovalGate.objects.decided_before(gate)
    found = list(_with_deciders(decided.filter(arguments_fingerprint=gate.arguments_fingerprint))[:limit])
    if len(found) < limit:
        recent = decided.exclude(arguments_fingerprint=gate.arguments_fingerprint).values("pk")[:RECENT]
        same_agent_first = Case(When(agent_id=gate.agent_id, then=0), default=1)
        others = ApprovalGate.objects.filter(pk__in=recent).order_by(same_agent_first, "-decided_at", "id")
        found += _with_deciders(others)[: limit - len(found)]
    return tuple(_precedent(past, gate) for past in found)


def _with_deciders(gates: ApprovalGateQuerySet) -> ApprovalGateQuerySet:
    """The gates with their decisions that stand, and nothing else of what they hold: it may be large."""
    decisions = Decision.objects.standing().select_related("decided_by").in_order()
    needed = gates.only("state", "decided_at", "opened_at", "agent_name", "arguments_fingerprint")
    return needed.prefetch_related(Prefetch("decisions", queryset=decisions))


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
