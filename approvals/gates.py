"""The only code that moves a gate. Everything here needs an open transaction and says so.

Each move is a compare-and-set on the gate's row, then the trace event, then the ledger entry (for what a person
decided), then the feed entry: one lock order everywhere (run, gate, trace, tenant head). Where several gates move at
once, each of these steps is taken for all of them before the next one.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import IntegrityError, connection
from django.db.models import F

from approvals import publishing
from approvals.ballots import (
    Ballot,
    ballot_fingerprint,
    can_decide,
    can_undo,
    can_view_gate,
    check_ballot,
    check_decide,
    check_form,
    check_sent,
    check_undo,
    check_undoable,
    check_view_gate,
    count_approvals,
    decisions_around,
    earlier_answer,
)
from approvals.binding import change_of, digest_of
from approvals.errors import (
    GateMoved,
    KeyReused,
    NeedsTransaction,
    NotApproved,
    StillHeld,
    UnknownGate,
)
from approvals.models import ApprovalGate, Decision, DecisionKind, TenantPolicy
from approvals.opening import GateRequest, amended_gate, new_gate
from approvals.presentation import redacted_change
from approvals.redemption import Drifted, drift, permit_of
from approvals.signing import decision_facts, sign_decision
from approvals.standing import Held, Ready, Refused, Spent, Standing, Waiting, standing
from approvals.states import GateMove, GateState, after
from approvals.types import Amendment, Binding, Deny, Permit, Verdict
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.models import User
from traces import recorder
from traces.kinds import EventKind
from traces.redactors import redact

__all__ = [
    "Amendment",
    "Ballot",
    "Drifted",
    "GateRequest",
    "Held",
    "Ready",
    "Refused",
    "Spent",
    "Standing",
    "Waiting",
    "can_decide",
    "can_undo",
    "can_view_gate",
    "check_amendment",
    "check_decide",
    "check_undo",
    "check_view_gate",
    "decide",
    "expire",
    "grant",
    "lapse",
    "open_gate",
    "redeem",
    "standing",
    "supersede",
    "undo",
    "withdraw",
]

P = ParamSpec("P")
R = TypeVar("R")

_NONCE_BYTES = 32


def needs_transaction(function: Callable[P, R]) -> Callable[P, R]:
    """Fail loudly where the caller has opened no transaction: half a move must not be possible."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not connection.in_atomic_block:
            raise NeedsTransaction
        return function(*args, **kwargs)

    return checked


@needs_transaction
def open_gate(request: GateRequest, *, now: datetime) -> ApprovalGate:
    """Store a gate that waits for a person, and tell the tenant's reviewers.

    Raises:
        BadGateRequest: manifest, presentation and binding are not of one call.
        django.db.IntegrityError: the call has an open gate already.
    """
    gate = new_gate(request, nonce=_nonce(), now=now)
    gate.save(force_insert=True)
    publishing.record(gate, EventKind.GATE_OPENED, now, {"reason": gate.reason, "rule": gate.rule, "level": gate.level})
    recorder.note_summary(run_id=gate.run_id, tool=gate.tool)
    publishing.announce(gate, now)
    return gate


@needs_transaction
def decide(gate_id: uuid.UUID, user: User, ballot: Ballot, *, now: datetime) -> Decision:
    """Cast a ballot: check that this person may, on what their page showed, now; sign it; move the gate.

    The same ballot sent again (same person, same key) answers with the first decision, whatever has happened since.

    Raises:
        NotVisible, NotAllowed, OwnRun: see `check_decide`.
        BadBallot, ReasonTooLong: see `check_form`.
        KeyReused: the key came with another ballot.
        Expired, AlreadyDecided, AlreadyVoted, StaleView, Tampered: see `check_ballot`.
        NoSigningKey: this is not the web tier.
    """
    check_form(ballot)
    gate = _locked(gate_id)
    membership = check_decide(user, gate)
    decisions = decisions_around(gate, user, ballot.idempotency_key)
    earlier = earlier_answer(gate, user, ballot, decisions)
    if earlier is not None:
        return earlier
    check_ballot(gate, user, ballot, decisions, now)
    decision = _store_decision(gate, user, membership.role, ballot, now)
    approvals = count_approvals(gate, [*decisions, decision])
    _count_decision(gate, decision, approvals, now)
    _record_decision(gate, decision, user, now)
    publishing.announce(gate, now, approvals=approvals)
    return decision


def check_amendment(gate: ApprovalGate, user: User, amendment: Amendment, *, now: datetime) -> None:
    """Refuse an edit that `supersede` would refuse, before any work is done for it; raises as that does."""
    check_sent(amendment)
    check_decide(user, gate)
    check_ballot(gate, user, amendment, decisions_around(gate, user, amendment.idempotency_key), now)


@needs_transaction
def supersede(
    gate_id: uuid.UUID, user: User, amendment: Amendment, request: GateRequest, *, now: datetime
) -> ApprovalGate:
    """Close a gate whose call a reviewer has edited, and open the one of the edited call; nobody has approved that yet.

    Approvals of the old gate stay with it: they were signed over its digest and nonce.

    Raises:
        NotVisible, NotAllowed, OwnRun: see `check_decide`.
        BadBallot, ReasonTooLong: see `check_sent`.
        Expired, AlreadyDecided, AlreadyVoted, StaleView, Tampered: see `check_ballot`.
        BadGateRequest: the request is of another call, or its parts are not of one.
    """
    gate = _locked(gate_id)
    check_amendment(gate, user, amendment, now=now)
    opened = amended_gate(gate, user, amendment, request, nonce=_nonce(), now=now)
    _move(gate, GateMove.SUPERSEDE, closed_at=now)
    opened.save(force_insert=True)
    publishing.superseded(gate, opened, user, str(redact(gate.tenant_id, amendment.reason)), now)
    return opened


@needs_transaction
def undo(gate_id: uuid.UUID, user: User, *, now: datetime) -> ApprovalGate:
    """Take a decision back inside its hold: the gate waits again, under a new nonce.

    All decisions of the round are marked as undone. They were signed over the old nonce, so none of them can ever
    count again, whoever might clear the mark. The call's digest and view stay, so pages that show it stay valid.

    Raises:
        NotVisible, NotAllowed, OwnRun: see `check_undo`.
        NothingToUndo, HoldOver: see `check_undoable`.
    """
    gate = _locked(gate_id)
    check_undo(user, gate)
    check_undoable(gate, now)
    undone = gate.state
    _move(
        gate,
        GateMove.UNDO,
        nonce=_nonce(),
        decided_at=None,
        hold_until=None,
        execute_by=None,
        closed_at=None,
    )
    Decision.objects.filter(gate_id=gate.id).standing().update(undone_at=now, undone_by=user)
    publishing.record(gate, EventKind.GATE_UNDONE, now, {"undone": undone}, actor=user.get_username())
    publishing.append(gate, user, {"undone": undone}, now)
    publishing.announce(gate, now)
    publishing.ring([gate])
    return gate


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
def withdraw(run_id: uuid.UUID, *, now: datetime, why: str) -> int:
    """Close every open gate of a run that was cancelled or has ended; answers how many.

    A gate that waits is WITHDRAWN; an approval that was not used is LAPSED. Neither can let its call run any more.
    """
    gates = list(ApprovalGate.objects.of_run(run_id).open().order_by("id").select_for_update())
    waiting = [gate for gate in gates if gate.state == GateState.PENDING]
    approved = [gate for gate in gates if gate.state == GateState.APPROVED]
    for gate in waiting:
        _move(gate, GateMove.WITHDRAW, closed_at=now)
    for gate in approved:
        _move(gate, GateMove.LAPSE, closed_at=now)
    publishing.tell_closed(gates, now, {"reason": why})
    return len(gates)


@needs_transaction
def redeem(gate_id: uuid.UUID, current: Binding, verdict: Verdict, *, now: datetime) -> Permit | Drifted:
    """Turn an approval into the single-use right to run its call, if all that it was bound to still holds.

    Recomputes the digests of the stored call and view, verifies every decision's signature with the public keys,
    compares with the binding of now, and asks that policy does not deny the call today. Anything else: APPROVED moves
    to LAPSED, and the answer says what has changed.

    Raises:
        UnknownGate: no gate has this id.
        NotApproved: it is not approved (StillHeld: not past its hold).
        NotPresentable: it has changed, and the redactor failed on the difference.
    """
    try:
        gate = _locked(gate_id)
    except NotVisible as error:
        raise UnknownGate from error
    if gate.state != GateState.APPROVED:
        raise NotApproved(f"This call is {gate.state}, so it can't run.")
    if gate.hold_until is None or now < gate.hold_until:
        raise StillHeld
    decisions = list(Decision.objects.filter(gate_id=gate.id).standing().in_order())
    found = drift(gate, decisions, current, verdict, now)
    if found:
        return _refuse(gate, found, verdict, now)
    _move(gate, GateMove.REDEEM, closed_at=now)
    permit = permit_of(current, gate.digest, gate.nonce, gate.id, now)
    publishing.record(gate, EventKind.PERMIT_ISSUED, now, {"permit": str(permit.id)})
    publishing.announce(gate, now)
    return permit


@needs_transaction
def grant(binding: Binding, *, now: datetime) -> Permit:
    """The permit of a call that policy allows without a person."""
    permit = permit_of(binding, digest_of(binding), _nonce(), None, now)
    recorder.record(
        run_id=binding.run_id,
        kind=EventKind.PERMIT_ISSUED,
        payload={"permit": str(permit.id), "tool": binding.tool},
        now=now,
        call_id=binding.call_id,
    )
    return permit


def _locked(gate_id: uuid.UUID) -> ApprovalGate:
    """The gate, its row locked until the end of the transaction."""
    gate = ApprovalGate.objects.select_for_update().filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    return gate


def _move(gate: ApprovalGate, move: GateMove | None, **columns: Any) -> None:
    """Compare and set. `move` None keeps the state (a vote that does not decide yet); the version grows all the same.

    Raises:
        GateMoved: the row is not as `gate` knows it, or the table has no such move.
    """
    state = after(GateState(gate.state), move) if move else GateState(gate.state)
    if state is None:
        raise GateMoved
    unmoved = ApprovalGate.objects.filter(pk=gate.pk, state=gate.state, version=gate.version)
    if unmoved.update(state=state, version=F("version") + 1, **columns) != 1:
        raise GateMoved
    gate.state, gate.version = state, gate.version + 1
    for column, value in columns.items():
        setattr(gate, column, value)


def _store_decision(gate: ApprovalGate, user: User, role: str, ballot: Ballot, now: datetime) -> Decision:
    decision = Decision(
        gate=gate,
        kind=DecisionKind(ballot.kind),
        decided_by=user,
        decided_at=now,
        role=role,
        reason=str(redact(gate.tenant_id, ballot.reason)) if ballot.reason else "",
        digest=ballot.digest,
        view_digest=ballot.view_digest,
        redactor_version=gate.redactor_version,
        nonce=gate.nonce,
        idempotency_key=ballot.idempotency_key,
        ballot_fingerprint=ballot_fingerprint(gate, ballot),
    )
    decision.signature = sign_decision(decision_facts(gate, decision))
    try:
        decision.save(force_insert=True)
    except IntegrityError as error:
        # The gate is locked, so what clashes is this person's key on another gate at the same moment.
        raise KeyReused from error
    return decision


def _count_decision(gate: ApprovalGate, decision: Decision, approvals: int, now: datetime) -> None:
    """Move the gate as the decision asks: one rejection rejects, the last approval needed approves."""
    if decision.kind == DecisionKind.REJECT:
        held = _hold(gate.tenant_id, "rejection_hold_seconds")
        _move(gate, GateMove.REJECT, decided_at=now, hold_until=now + held, closed_at=now)
    elif approvals >= gate.approvals_needed:
        until = now + _hold(gate.tenant_id, "approval_hold_seconds")
        execute_by = until + timedelta(seconds=gate.execute_within_seconds)
        _move(gate, GateMove.APPROVE, decided_at=now, hold_until=until, execute_by=execute_by)
    else:
        _move(gate, None)
        return
    publishing.ring([gate])


def _hold(tenant_id: int, column: str) -> timedelta:
    policy = TenantPolicy.objects.only(column).filter(pk=tenant_id).first() or TenantPolicy(tenant_id=tenant_id)
    return timedelta(seconds=getattr(policy, column))


def _record_decision(gate: ApprovalGate, decision: Decision, user: User, now: datetime) -> None:
    facts = {
        "decision": str(decision.id),
        "kind": str(decision.kind),
        "reason": decision.reason,
        "needed": gate.approvals_needed,
    }
    publishing.record(gate, EventKind.GATE_DECIDED, now, facts, actor=user.get_username())
    recorder.note_summary(run_id=gate.run_id, decision=str(decision.kind), reviewer=user.get_username())
    signed = {"digest": decision.digest, "view_digest": decision.view_digest, "role": decision.role}
    publishing.append(gate, user, facts | signed, now)


def _refuse(gate: ApprovalGate, found: Sequence[dict[str, Any]], verdict: Verdict, now: datetime) -> Drifted:
    change = redacted_change(gate.tenant_id, change_of(list(found)))
    _move(gate, GateMove.LAPSE, closed_at=now)
    reasons = [item["text"] for item in change["differences"]]
    if any(item["fact"] == "integrity" for item in found):
        publishing.record(gate, EventKind.VIOLATION, now, {"reasons": reasons})
    publishing.tell_closed([gate], now, {"reasons": reasons})
    return Drifted(change, verdict if isinstance(verdict, Deny) else None)


def _close(gates: Sequence[ApprovalGate], move: GateMove, now: datetime, facts: Mapping[str, Any]) -> None:
    for gate in gates:
        _move(gate, move, closed_at=now)
    publishing.tell_closed(gates, now, facts)


def _nonce() -> str:
    return secrets.token_hex(_NONCE_BYTES)
