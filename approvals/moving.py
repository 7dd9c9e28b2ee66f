"""The one way in which a gate's row changes: compare and set, inside a transaction. For `gates` and `closing` only."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import connection

from approvals.errors import GateMoved, NeedsTransaction
from approvals.models import ApprovalGate
from approvals.policy_facts import tenant_policy
from approvals.states import GateMove, GateState, after
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.halts import halted
from routekit_site.tenancy.statements import Query, slot, update
from traces.gathering import gathered
from traces.redactors import note_version, version_column

P = ParamSpec("P")
R = TypeVar("R")

_LOCKED = Query(
    lambda: (
        ApprovalGate.objects.select_for_update(of=("self",))
        .annotate(halted=halted("agent_id"), redaction=version_column("tenant_id"))
        .filter(pk=slot("gate"))
    )
)


def needs_transaction(function: Callable[P, R]) -> Callable[P, R]:
    """Fail loudly where the caller has opened no transaction: half a move must not be possible.

    What the move tells is gathered, so that it costs one statement for each kind of thing told.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not connection.in_atomic_block:
            raise NeedsTransaction
        with gathered():
            return function(*args, **kwargs)

    return checked


def locked(gate_id: uuid.UUID) -> ApprovalGate:
    """The gate, its row locked until the end of the transaction; it knows whether its agent is `halted`."""
    gate = _LOCKED.first(gate=gate_id)
    if gate is None:
        raise NotVisible
    note_version(gate.tenant_id, vars(gate)["redaction"])
    return gate


def move_gate(gate: ApprovalGate, move: GateMove | None, **columns: Any) -> None:
    """Compare and set. `move` None keeps the state (a vote that does not decide yet); the version grows all the same.

    Raises:
        GateMoved: the row is not as `gate` knows it, or the table has no such move.
    """
    state = after(GateState(gate.state), move) if move else GateState(gate.state)
    if state is None:
        raise GateMoved
    unmoved = {"id": gate.pk, "state": gate.state, "version": gate.version}
    if update(ApprovalGate, unmoved, {"state": state, "version": gate.version + 1, **columns}) != 1:
        raise GateMoved
    gate.state, gate.version = state, gate.version + 1
    for column, value in columns.items():
        setattr(gate, column, value)


def hold_of(tenant_id: int, column: str) -> timedelta:
    """How long a decision can be taken back in a tenant; `column` is the policy's for its kind."""
    return timedelta(seconds=getattr(tenant_policy(tenant_id), column))
