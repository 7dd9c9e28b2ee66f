"""The only code that moves a gate. Everything here needs an open transaction and says so.

Each move is a compare-and-set on the gate's row, then the trace event, then the ledger entry (for what a person
decided), then the feed entry: one lock order everywhere (run, gate, trace, tenant head). Where several gates move at
once, each of these steps is taken for all of them before the next one.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError

from approvals import publishing
from approvals.ballots import (
    Ballot,
    ballot_fingerprint,
    can_decide,
    can_take_back,
    can_undo,
    can_view_gate,
    check_ballot,
    check_decide,
    check_form,
    check_sent,
    check_take_back,
    check_undo,
    check_undoable,
    check_view_gate,
    check_waiting,
    count_approvals,
    decisions_around,
    earlier_answer,
)
from approvals.binding import change_of, digest_of
from approvals.closing import due, escalate, expire, lapse, lock_open, refuse, tell_of_forgery, withdraw
from approvals.errors import (
    Halted,
    KeyReused,
    NotApproved,
    StillHeld,
    UnknownGate,
)
from approvals.integrity import enough
from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.moving import hold_of, locked, move_gate, needs_transaction
from approvals.opening import GateRequest, amended_gate, new_gate, renewed_gate
from approvals.presentation import redacted_change
from approvals.redemption import Drifted, drift, permit_of
from approvals.signing import decision_facts, sign_decision
from approvals.standing import Answered, Held, Ready, Refused, Spent, Standing, Waiting, standing
from approvals.states import GateMove, GateState
from approvals.types import Amendment, Binding, Deny, Permit, Verdict
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.models import User
from routekit_site.tenancy.statements import Query, insert, slot
from traces import recorder
from traces.kinds import EventKind
from traces.redactors import redact

__all__ = [
    "Amendment",
    "Answered",
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
    "can_take_back",
    "can_undo",
    "can_view_gate",
    "check_amendment",
    "check_decide",
    "check_take_back",
    "check_undo",
    "check_view_gate",
    "decide",
    "due",
    "escalate",
    "expire",
    "grant",
    "lapse",
    "lock_open",
    "needs_transaction",
    "open_gate",
    "recheck",
    "redeem",
    "refuse_decision",
    "renew",
    "standing",
    "supersede",
    "take_back",
    "undo",
    "withdraw",
]

_NONCE_BYTES = 16

_STANDING = Query(lambda: Decision.objects.filter(gate_id=slot("gate")).standing().in_order())


@needs_transaction
def open_gate(request: GateRequest, *, now: datetime) -> ApprovalGate:
    """Store a gate that waits for a person, and tell the tenant's reviewers.

    Raises:
        BadGateRequest: manifest, presentation and binding are not of one call.
        django.db.IntegrityError: the call has an open gate already.
    """
    gate = new_gate(request, nonce=_nonce(), now=now)
    insert([gate])
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
    gate = locked(gate_id)
    membership = check_decide(user, gate, hold=True)
    decisions = decisions_around(gate, user, ballot.idempotency_key)
    earlier = earlier_answer(gate, user, ballot, decisions)
    if earlier is not None:
        return earlier
    check_ballot(gate, user, ballot, decisions, now)
    decision = _store_decision(gate, user, membership.role, ballot, now)
    cast = [*decisions, decision]
    _count_decision(gate, decision, cast, now)
    _record_decision(gate, decision, user, now)
    publishing.announce(gate, now, approvals=count_approvals(gate, cast))
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
    gate = locked(gate_id)
    check_amendment(gate, user, amendment, now=now)
    opened = amended_gate(gate, user, amendment, request, nonce=_nonce(), now=now)
    move_gate(gate, GateMove.SUPERSEDE, closed_at=now)
    insert([opened])
    publishing.superseded(gate, opened, user, str(redact(gate.tenant_id, amendment.reason)), now)
    return opened


@needs_transaction
def renew(gate_id: uuid.UUID, request: GateRequest, *, now: datetime) -> ApprovalGate | None:
    """Ask anew about a call that waits, on a page made under today's redaction; None where it waits no more.

    Raises:
        BadGateRequest: the request is of another call, or its parts are not of one.
    """
    gate = locked(gate_id)
    if gate.state != GateState.PENDING or now >= gate.decide_by:
        return None
    opened = renewed_gate(gate, request, nonce=_nonce(), now=now)
    move_gate(gate, GateMove.SUPERSEDE, closed_at=now)
    insert([opened])
    publishing.renewed(gate, opened, now)
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
    gate = locked(gate_id)
    check_undo(user, gate)
    check_undoable(gate, now)
    undone = gate.state
    move_gate(
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
def take_back(gate_id: uuid.UUID, user: User, *, now: datetime) -> ApprovalGate:
    """The submitter (or an admin) takes the request for one call back: the call will not run, the run goes on.

    Raises:
        NotVisible, NotAllowed: see `check_take_back`.
        Expired, AlreadyDecided: it is too late, with who was faster.
    """
    gate = locked(gate_id)
    check_take_back(user, gate)
    check_waiting(gate, now)
    move_gate(gate, GateMove.WITHDRAW, closed_at=now, withdrawn_by=user)
    facts = {"kind": "withdraw", "reason": "Taken back by the submitter."}
    publishing.record(gate, EventKind.GATE_CLOSED, now, facts, actor=user.get_username())
    publishing.append(gate, user, facts, now)
    publishing.announce(gate, now, submitter=gate.requester_id)
    publishing.ring([gate])
    return gate


@needs_transaction
def refuse_decision(
    gate: ApprovalGate, user: User, sent: Mapping[str, str], error: Exception, *, now: datetime
) -> None:
    """Put a refused decision on record. In a transaction of its own: that of the decision was rolled back.

    `sent` says what was tried: `kind`, and the digests of the page where there were any.
    """
    publishing.decision_refused(gate, user, sent, error, now)


@needs_transaction
def redeem(gate_id: uuid.UUID, current: Binding, verdict: Verdict, *, now: datetime) -> Permit | Drifted:
    """Turn an approval into the single-use right to run its call, if all that it was bound to still holds.

    Recomputes the digests of the stored call and view, verifies every decision's signature with the public keys,
    compares with the binding of now, and asks that policy does not deny the call today. Anything else: APPROVED moves
    to LAPSED, and the answer says what has changed.

    Raises:
        UnknownGate: no gate has this id.
        Halted, NotApproved, StillHeld: its agent is stopped; it is not approved; it can still be undone.
        NotPresentable: it has changed, and the redactor failed on the difference.
    """
    try:
        gate = locked(gate_id)
    except NotVisible as error:
        raise UnknownGate from error
    if vars(gate)["halted"]:
        raise Halted
    if gate.state != GateState.APPROVED:
        raise NotApproved(f"This call is {gate.state}, so it can't run.")
    if gate.hold_until is None or now < gate.hold_until:
        raise StillHeld
    decisions = _STANDING.all(gate=gate.id)
    found = drift(gate, decisions, current, verdict, now)
    if found:
        return refuse(gate, found, verdict, now)
    move_gate(gate, GateMove.REDEEM, closed_at=now)
    permit = permit_of(current, gate.digest, gate.nonce, gate.id, now)
    publishing.record(gate, EventKind.PERMIT_ISSUED, now, {"permit": str(permit.id)})
    publishing.announce(gate, now)
    return permit


@needs_transaction
def recheck(gate_id: uuid.UUID, current: Binding, verdict: Verdict, *, now: datetime) -> Drifted | None:
    """What speaks against the late first run of a call whose approval was redeemed, of which nothing ran; or None.

    It is held to all that `redeem` holds an approval to. The gate stays SPENT.

    Raises:
        NotApproved: the approval was not redeemed.
        NotPresentable: it has changed, and the redactor failed on the difference.
    """
    gate = locked(gate_id)
    if gate.state != GateState.SPENT:
        raise NotApproved(f"This call is {gate.state}, so its approval was not used.")
    found = drift(gate, _STANDING.all(gate=gate.id), current, verdict, now)
    if not found:
        return None
    change = redacted_change(gate.tenant_id, change_of(list(found)))
    tell_of_forgery(gate, found, change, now)
    return Drifted(change, verdict if isinstance(verdict, Deny) else None)


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


def _store_decision(gate: ApprovalGate, user: User, role: str, ballot: Ballot, now: datetime) -> Decision:
    said = ballot.answer or ballot.reason
    decision = Decision(
        gate=gate,
        kind=DecisionKind(ballot.kind),
        decided_by=user,
        decided_at=now,
        role=role,
        reason=str(redact(gate.tenant_id, said)) if said else "",
        answer_sealed=seal(ballot.answer) if ballot.answer else None,
        digest=ballot.digest,
        view_digest=ballot.view_digest,
        redactor_version=gate.redactor_version,
        nonce=gate.nonce,
        idempotency_key=ballot.idempotency_key,
        ballot_fingerprint=ballot_fingerprint(gate, ballot),
    )
    decision.signature = sign_decision(decision_facts(gate, decision))
    try:
        insert([decision])
    except IntegrityError as error:
        # The gate is locked, so what clashes is this person's key on another gate at the same moment.
        raise KeyReused from error
    return decision


def _count_decision(gate: ApprovalGate, decision: Decision, cast: Sequence[Decision], now: datetime) -> None:
    """Move the gate as the decision asks: one rejection or answer is enough, the last approval needed approves."""
    if decision.kind == DecisionKind.REJECT:
        held = hold_of(gate.tenant_id, "rejection_hold_seconds")
        move_gate(gate, GateMove.REJECT, decided_at=now, hold_until=now + held, closed_at=now)
    elif decision.kind == DecisionKind.RESPOND:
        held = hold_of(gate.tenant_id, "approval_hold_seconds")
        move_gate(gate, GateMove.RESPOND, decided_at=now, hold_until=now + held, closed_at=now)
    elif enough(gate, [each for each in cast if each.gate_id == gate.id and each.undone_at is None]):
        until = now + hold_of(gate.tenant_id, "approval_hold_seconds")
        execute_by = until + timedelta(seconds=gate.execute_within_seconds)
        move_gate(gate, GateMove.APPROVE, decided_at=now, hold_until=until, execute_by=execute_by)
    else:
        move_gate(gate, None)
        return
    publishing.ring([gate])


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


def _nonce() -> str:
    return secrets.token_urlsafe(_NONCE_BYTES)
