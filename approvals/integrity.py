"""Whether what is stored of a gate is what was shown, and whether its decisions are what people signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from approvals.approvers import Alternative, is_met, of_roles, parsed
from approvals.binding import difference, digest_of, view_digest_of
from approvals.errors import BadExpression, NotCanonical
from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.signing import is_signed
from approvals.states import GateState
from approvals.types import ApproverRequirement, Binding
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed, ValueForgotten

Difference = dict[str, Any]

_USABLE = frozenset({GateState.PENDING, GateState.APPROVED})


def stored_binding(gate: ApprovalGate) -> Binding:
    """The binding as the gate's own columns give it.

    Raises:
        DecryptionFailed: the sealed arguments were changed, or their key is gone.
    """
    return Binding(
        tenant_id=gate.tenant_id,
        run_id=gate.run_id,
        call_id=gate.call_id,
        tool=gate.tool,
        tool_schema_digest=gate.tool_schema_digest,
        arguments=unseal(gate.arguments_sealed),
        requester_id=gate.requester_id,
        agent_id=gate.agent_id,
        agent_version=gate.agent_version,
        policy_digest=gate.policy_digest,
        sandbox_digest=gate.sandbox_digest,
        context_digest=gate.context_digest,
    )


def gate_faults(gate: ApprovalGate) -> list[Difference]:
    """What of a stored gate is not as it was opened. Empty where all of it holds."""
    found = []
    try:
        if digest_of(stored_binding(gate)) != gate.digest:
            found.append(_fault("The stored call is not the one that the gate was opened for."))
    except ValueForgotten:
        # Retention deletes the arguments of calls whose run is over. What can still be used must be whole.
        if gate.state in _USABLE:
            found.append(_fault("The stored arguments were deleted."))
    except (DecryptionFailed, NotCanonical):
        found.append(_fault("The stored arguments can't be read: they were changed, or their key is gone."))
    if _view_digest(gate) != gate.view_digest:
        found.append(_fault("The stored view is not the one that the gate was opened with."))
    if not _requirement_holds(gate):
        found.append(_fault("Who has to approve is not what the gate was opened with."))
    return found


def decision_faults(gate: ApprovalGate, decision: Decision) -> list[Difference]:
    """What of one standing decision does not hold. Empty where all of it does."""
    found = []
    if not is_signed(gate, decision):
        found.append(_fault("A decision is not signed by the web tier."))
    if decision.nonce != gate.nonce:
        found.append(_fault("A decision was made for an earlier opening of this gate."))
    if decision.digest != gate.digest:
        found.append(_fault("A decision was made on another call."))
    if (decision.view_digest, decision.redactor_version) != (gate.view_digest, gate.redactor_version):
        found.append(_fault("A decision was made on another view of the call."))
    if gate.four_eyes and decision.decided_by_id == gate.requester_id:
        found.append(_fault("The submitter decided."))
    if decision.role not in _roles_at(gate, decision):
        found.append(_fault("Somebody decided whose role may not."))
    return found


def enough(gate: ApprovalGate, decisions: Sequence[Decision]) -> bool:
    """Whether the approvals among these standing decisions are those that the gate asks for: one a person."""
    approvals = {each.decided_by_id: each for each in decisions if each.kind == DecisionKind.APPROVE}
    late = [each for each in approvals.values() if _is_after_escalation(gate, each)]
    substitutes = gate.escalation_roles if late else []
    return is_met(requirement(gate), [each.role for each in approvals.values()], substitutes)


def requirement(gate: ApprovalGate) -> tuple[Alternative, ...]:
    """Who has to approve a gate. An expression that can't be read is met by nobody."""
    if not gate.approver_expression:
        return of_roles(gate.approver_roles, gate.approvals_needed)
    try:
        return parsed(gate.approver_expression, gate.approver_roles)
    except BadExpression:
        return ()


def _roles_at(gate: ApprovalGate, decision: Decision) -> list[str]:
    """The roles that could decide at the moment of a decision: by the signed time, not by a mark in the row."""
    second = gate.escalation_roles if _is_after_escalation(gate, decision) else []
    return [*gate.approver_roles, *second]


def _is_after_escalation(gate: ApprovalGate, decision: Decision) -> bool:
    return gate.escalate_at is not None and decision.decided_at >= gate.escalate_at


def _view_digest(gate: ApprovalGate) -> str:
    try:
        return view_digest_of(gate.presentation)
    except NotCanonical:
        return ""


def _requirement_holds(gate: ApprovalGate) -> bool:
    """The columns that say who must approve, against the view, which every decision's signature covers."""
    shown = gate.presentation.get("approvers") if isinstance(gate.presentation, Mapping) else None
    after = gate.escalate_at - gate.opened_at if gate.escalate_at is not None else timedelta()
    stored = ApproverRequirement(
        roles=tuple(gate.approver_roles),
        count=gate.approvals_needed,
        four_eyes=gate.four_eyes,
        expression=gate.approver_expression,
        escalation_roles=tuple(gate.escalation_roles),
        escalate_after_seconds=round(after.total_seconds()),
    )
    return bool(shown == stored.as_shown())


def _fault(text: str) -> Difference:
    return difference("integrity", text)
