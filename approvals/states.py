"""The life of a gate. Pure. The diagram in docs/explanation/states.md is generated from `TRANSITIONS` and checked."""

from __future__ import annotations

from enum import StrEnum


class GateState(StrEnum):
    """Where a gate stands."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SPENT = "spent"
    LAPSED = "lapsed"


class GateMove(StrEnum):
    """What moves a gate."""

    APPROVE = "approve"
    REJECT = "reject"
    RESPOND = "respond"
    EXPIRE = "expire"
    WITHDRAW = "withdraw"
    SUPERSEDE = "supersede"
    UNDO = "undo"
    REDEEM = "redeem"
    LAPSE = "lapse"


TRANSITIONS: dict[tuple[GateState, GateMove], GateState] = {
    (GateState.PENDING, GateMove.APPROVE): GateState.APPROVED,
    (GateState.PENDING, GateMove.REJECT): GateState.REJECTED,
    (GateState.PENDING, GateMove.RESPOND): GateState.ANSWERED,
    (GateState.PENDING, GateMove.EXPIRE): GateState.EXPIRED,
    (GateState.PENDING, GateMove.WITHDRAW): GateState.WITHDRAWN,
    (GateState.PENDING, GateMove.SUPERSEDE): GateState.WITHDRAWN,
    (GateState.APPROVED, GateMove.UNDO): GateState.PENDING,
    (GateState.REJECTED, GateMove.UNDO): GateState.PENDING,
    (GateState.ANSWERED, GateMove.UNDO): GateState.PENDING,
    (GateState.APPROVED, GateMove.REDEEM): GateState.SPENT,
    (GateState.APPROVED, GateMove.LAPSE): GateState.LAPSED,
}

# REJECTED and ANSWERED are left only inside their hold; the agents floor waits the hold out.
# Somebody decided, and until the hold is over it can be taken back.
UNDOABLE: frozenset[GateState] = frozenset(start for start, move in TRANSITIONS if move is GateMove.UNDO)
TERMINAL: frozenset[GateState] = frozenset(GateState) - {start for start, _ in TRANSITIONS}


def after(state: GateState, move: GateMove) -> GateState | None:
    """The state that `move` leads to from `state`, or None where the table has no such move."""
    return TRANSITIONS.get((state, move))
