"""Whether an approval still holds at the moment of use. Moves nothing: `gates.redeem` does, on this answer."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from approvals.binding import difference, differences, digest_of
from approvals.canonical import digest
from approvals.integrity import decision_faults, enough, gate_faults, stored_binding
from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.types import Binding, Deny, NeedsApproval, Permit, Verdict

Difference = dict[str, Any]

# How long a permit may wait for its call to start. The call itself has its own time-out.
PERMIT_SECONDS = 120


@dataclass(frozen=True)
class Drifted:
    """The approval no longer holds, and the call did not run; the gate is LAPSED, or stays SPENT where it was used.

    `change` is redacted and as documented in `docs/reference/presentation.md`: it goes into the gate that reopens this
    one. `denial` is today's verdict where that is a Deny: then there is nothing to ask a person, the call is denied.
    """

    change: dict[str, Any]
    denial: Deny | None = None


def drift(
    gate: ApprovalGate, decisions: Sequence[Decision], current: Binding, verdict: Verdict, now: datetime
) -> list[Difference]:
    """All that speaks against letting the approved call run now; values are raw. Empty where it may run.

    Args:
        gate: an approved gate.
        decisions: its decisions that stand.
        current: the binding as the caller computes it from the state of now.
        verdict: what policy says now.
        now: the time.
    """
    found = gate_faults(gate)
    for decision in decisions:
        found += decision_faults(gate, decision)
    if not _enough(gate, decisions):
        found.append(difference("integrity", "The approvals that the call needs are not all there."))
    if not found and digest_of(current) != gate.digest:
        found += differences(stored_binding(gate), current)
    if not found:
        found += effects_drift(gate, current)
    if gate.execute_by is None or now >= gate.execute_by:
        found.append(difference("execute_by", "The approval was not used in time."))
    return found + _verdict_drift(gate, verdict)


def permit_of(binding: Binding, bound: str, nonce: str, gate_id: uuid.UUID | None, now: datetime) -> Permit:
    """The permit of a call that may run; `bound` is the digest of its binding."""
    return Permit(
        id=uuid.uuid4(),
        tenant_id=binding.tenant_id,
        run_id=binding.run_id,
        call_id=binding.call_id,
        tool=binding.tool,
        arguments_digest=digest(binding.arguments),
        digest=bound,
        nonce=nonce,
        gate_id=gate_id,
        expires_at=now + timedelta(seconds=PERMIT_SECONDS),
    )


def effects_drift(gate: ApprovalGate, current: Binding) -> list[Difference]:
    """What the call would do otherwise than the approved view says, which must hold; empty where it is as shown."""
    permissions, effect = gate.presentation["permissions"], gate.presentation["reversibility"]["class"]
    found = []
    if list(current.permissions) != permissions:
        before, after = ", ".join(permissions) or "none", ", ".join(current.permissions) or "none"
        found.append(difference("permissions", "The tool uses other permissions now.", before=before, after=after))
    if current.reversibility != effect:
        text = "Whether it can be taken back has changed."
        found.append(difference("reversibility", text, before=effect, after=current.reversibility))
    return found


def _enough(gate: ApprovalGate, decisions: Sequence[Decision]) -> bool:
    """Whether enough different people approved, and nobody decided otherwise."""
    refused = any(decision.kind != DecisionKind.APPROVE for decision in decisions)
    return enough(gate, decisions) and not refused


def _verdict_drift(gate: ApprovalGate, verdict: Verdict) -> list[Difference]:
    if isinstance(verdict, Deny):
        return [difference("verdict", "Policy denies this call now.", before="ask", after=verdict.reason)]
    if isinstance(verdict, NeedsApproval) and verdict.approvers.count > gate.approvals_needed:
        return [
            difference(
                "approvers",
                "More people have to approve this call now.",
                before=gate.approvals_needed,
                after=verdict.approvers.count,
            )
        ]
    return []
