"""What a gate answers to the floor that opened it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.states import UNDOABLE, GateState
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.statements import Query, slot

_DECISIONS = Query(
    lambda: Decision.objects.filter(gate_id=slot("gate")).standing().select_related("decided_by").in_order()
)


@dataclass(frozen=True)
class Waiting:
    """Nobody has decided yet."""


@dataclass(frozen=True)
class Held:
    """Decided, but it can still be undone until `until`."""

    until: datetime


@dataclass(frozen=True)
class Ready:
    """Approved and past the hold: `gates.redeem` may be called."""


@dataclass(frozen=True)
class Spent:
    """The approval was redeemed already."""


@dataclass(frozen=True)
class Refused:
    """The call must not run. `by` and `reason` (redacted) are a person's, and empty where nobody decided.

    A lapsed approval was given and can't be used any more; asking again is up to the caller.
    """

    kind: Literal["rejected", "expired", "withdrawn", "lapsed"]
    by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Answered:
    """The call must not run: `by` answered the model in the tool's place. `answer` is raw."""

    by: str
    answer: str
    kind: Literal["answered"] = "answered"


Standing = Waiting | Held | Ready | Spent | Refused | Answered


def standing(gate: ApprovalGate, now: datetime) -> Standing:
    """Where the gate stands for its caller. Costs a query only where the caller is to hear what somebody said."""
    match GateState(gate.state):
        case GateState.PENDING:
            answer: Standing = Waiting()
        case GateState.EXPIRED:
            answer = Refused("expired")
        case GateState.WITHDRAWN:
            answer = Refused("withdrawn")
        case GateState.SPENT:
            answer = Spent()
        case state if state in UNDOABLE and gate.hold_until is not None and now < gate.hold_until:
            answer = Held(gate.hold_until)
        case GateState.APPROVED:
            answer = Ready()
        case decided:
            answer = _decided(gate, decided)
    return answer


def _decided(gate: ApprovalGate, state: GateState) -> Standing:
    decisions = _DECISIONS.all(gate=gate.id)
    if state is GateState.REJECTED:
        rejections = [decision for decision in decisions if decision.kind == DecisionKind.REJECT]
        return Refused("rejected", _names(rejections), " ".join(decision.reason for decision in rejections))
    if state is GateState.ANSWERED:
        answers = [decision for decision in decisions if decision.kind == DecisionKind.RESPOND]
        return Answered(
            _names(answers),
            "\n".join(str(unseal(each.answer_sealed)) for each in answers if each.answer_sealed is not None),
        )
    return Refused("lapsed", _names(decisions))


def _names(decisions: list[Decision]) -> str:
    return " and ".join(decision.decided_by.display_name for decision in decisions)
