"""Checks stored approvals offline: every gate, every decision, with the public keys only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Prefetch

from approvals.integrity import decision_faults, enough, gate_faults
from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.signing import is_signed
from approvals.states import GateState

_BATCH = 200
_APPROVED = frozenset({GateState.APPROVED, GateState.SPENT, GateState.LAPSED})


@dataclass(frozen=True)
class Finding:
    """One gate and what does not hold of it, as sentences. `decisions` counts what was checked."""

    gate_id: UUID
    decisions: int
    faults: tuple[str, ...]


def verify_gates(tenant_id: int) -> Iterator[Finding]:
    """Check all gates of a tenant, oldest first: one finding for each, without faults where everything holds."""
    decisions = Decision.objects.in_order()
    gates = ApprovalGate.objects.in_tenant(tenant_id).order_by("opened_at", "id")
    for gate in gates.prefetch_related(Prefetch("decisions", queryset=decisions)).iterator(chunk_size=_BATCH):
        found = list(gate.decisions.all())
        yield Finding(gate.pk, len(found), tuple(dict.fromkeys(_faults(gate, found))))


def _faults(gate: ApprovalGate, decisions: Sequence[Decision]) -> Iterator[str]:
    yield from (fault["text"] for fault in gate_faults(gate))
    standing = [decision for decision in decisions if decision.undone_at is None]
    for decision in standing:
        yield from (fault["text"] for fault in decision_faults(gate, decision))
    for decision in decisions:
        if decision.undone_at is not None:
            yield from _undone_faults(gate, decision)
    yield from _count_faults(gate, standing)


def _undone_faults(gate: ApprovalGate, decision: Decision) -> Iterator[str]:
    if not is_signed(gate, decision):
        yield "An undone decision is not signed by the web tier."
    if decision.nonce == gate.nonce:
        yield "A decision is marked as undone although it is of the present round."


def _count_faults(gate: ApprovalGate, standing: Sequence[Decision]) -> Iterator[str]:
    """Whether the gate stands where its decisions put it."""
    rejected = any(decision.kind == DecisionKind.REJECT for decision in standing)
    if gate.state in _APPROVED and (not enough(gate, standing) or rejected):
        yield f"The gate is {gate.state} without the approvals that it needs."
    answered = any(decision.kind == DecisionKind.RESPOND for decision in standing)
    if gate.state == GateState.REJECTED and not rejected:
        yield "The gate is rejected, and nobody rejected it."
    if gate.state == GateState.ANSWERED and not answered:
        yield "The gate is answered, and nobody answered it."
    if gate.state == GateState.PENDING and (rejected or answered or enough(gate, standing)):
        yield "The gate is pending, and it was decided."
