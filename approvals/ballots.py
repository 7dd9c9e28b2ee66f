"""Who may decide a gate, and whether a ballot fits the gate that it is cast on. Moves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from approvals.canonical import canonical
from approvals.errors import (
    AlreadyDecided,
    AlreadyVoted,
    AnswerMissing,
    AnswerTooLong,
    BadBallot,
    Expired,
    HoldOver,
    KeyReused,
    NothingToUndo,
    OwnRun,
    ReasonTooLong,
    SecretTyped,
    StaleView,
    Tampered,
)
from approvals.integrity import gate_faults, stored_binding
from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.presentation import shows_arguments
from approvals.states import UNDOABLE, GateState
from approvals.types import Amendment
from routekit_site.tenancy.access import check_capability, membership_of
from routekit_site.tenancy.encryption import fingerprint
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Capability, capabilities_of
from routekit_site.tenancy.statements import Query, slot
from traces.pasted_secrets import refusal

Check = Callable[[User | AnonymousUser, ApprovalGate], Membership]

_AROUND = Query(
    lambda: (
        Decision.objects.filter(Q(gate_id=slot("gate")) | Q(decided_by_id=slot("user"), idempotency_key=slot("key")))
        .select_related("decided_by")
        .in_order()
    )
)

MAX_REASON = 4000
MAX_ANSWER = 20_000
_MAX_KEY = 64


@dataclass(frozen=True)
class Ballot:
    """What a reviewer sent: what they decided, the digests that their page showed, and the form's own key.

    `idempotency_key` is 1 to 64 characters, made with the form: the same form sent twice is one decision. `answer` is
    what the model is told in the tool's place, and empty for any other kind.
    """

    kind: Literal["approve", "reject", "respond"]
    digest: str
    view_digest: str
    idempotency_key: str
    reason: str = ""
    answer: str = ""


def check_decide(user: User | AnonymousUser, gate: ApprovalGate, *, hold: bool = False) -> Membership:
    """The membership under which `user` may decide this gate, read afresh; with `hold`, nobody takes it meanwhile.

    Raises:
        NotVisible: no member of the gate's tenant.
        NotAllowed: a member whose role may not decide, or not this gate.
        OwnRun: the submitter, where four eyes are asked for (a NotAllowed too).
    """
    membership = check_capability(user, gate.tenant_id, Capability.DECIDE_GATE, hold=hold)
    if gate.four_eyes and user.pk == gate.requester_id:
        raise OwnRun
    if membership.role not in gate.deciding_roles:
        needed = " or ".join(gate.deciding_roles) or "nobody"
        message = (
            f"This call has to be decided by: {needed}. Your role in {membership.tenant.name} is {membership.role}."
        )
        raise NotAllowed(message)
    return membership


def can_decide(user: User | AnonymousUser, gate: ApprovalGate) -> bool:
    """Whether `check_decide` would pass."""
    return _passes(check_decide, user, gate)


def check_view_gate(user: User | AnonymousUser, gate: ApprovalGate) -> Membership:
    """The membership under which `user` may see this gate: whoever sees the queue, and the submitter.

    Raises:
        NotVisible: no member of the gate's tenant.
        NotAllowed: a member who neither reviews nor submitted the run.
    """
    if user.pk == gate.requester_id:
        membership = membership_of(user, gate.tenant_id)
        if membership is None:
            raise NotVisible
        return membership
    return check_capability(user, gate.tenant_id, Capability.VIEW_QUEUE)


def can_view_gate(user: User | AnonymousUser, gate: ApprovalGate) -> bool:
    """Whether `check_view_gate` would pass."""
    return _passes(check_view_gate, user, gate)


def check_undo(user: User | AnonymousUser, gate: ApprovalGate) -> Membership:
    """The membership under which `user` may undo what was decided: their own decision, or any as an admin.

    Raises:
        NotVisible: no member of the gate's tenant.
        NotAllowed: neither a decider of this gate nor an admin.
        OwnRun: the submitter, where four eyes are asked for.
    """
    membership = check_decide(user, gate)
    is_admin = Capability.MANAGE_POLICY in capabilities_of(membership.role)
    if not is_admin and not gate.decisions.filter(decided_by_id=user.pk, undone_at=None).exists():
        raise NotAllowed("Only whoever decided, or an admin, can undo this.")
    return membership


def can_undo(user: User | AnonymousUser, gate: ApprovalGate) -> bool:
    """Whether `check_undo` would pass. Whether there is still time is for `undo` to say."""
    return _passes(check_undo, user, gate)


def check_take_back(user: User | AnonymousUser, gate: ApprovalGate) -> Membership:
    """The membership under which `user` may take the request back: the submitter, and whoever may cancel any run.

    Raises:
        NotVisible: no member of the gate's tenant.
        NotAllowed: a member who may not.
    """
    membership = check_view_gate(user, gate)
    any_run = Capability.CANCEL_ANY_RUN in capabilities_of(membership.role)
    if user.pk != gate.requester_id and not any_run:
        raise NotAllowed("Only the person who submitted the job, or an admin of the tenant, can take this back.")
    return membership


def can_take_back(user: User | AnonymousUser, gate: ApprovalGate) -> bool:
    """Whether `check_take_back` would pass."""
    return _passes(check_take_back, user, gate)


def _passes(check: Check, user: User | AnonymousUser, gate: ApprovalGate) -> bool:
    try:
        check(user, gate)
    except (NotVisible, NotAllowed):
        return False
    return True


def decisions_around(gate: ApprovalGate, user: User, key: str) -> list[Decision]:
    """All decisions of the gate, and the one of `user` under this key wherever it was made; oldest first."""
    return _AROUND.all(gate=gate.id, user=user.pk, key=key)


def ballot_fingerprint(gate: ApprovalGate, ballot: Ballot) -> str:
    """Tells two ballots apart without keeping the raw reason: a keyed fingerprint of all that was sent."""
    sent = [str(gate.id), ballot.kind, ballot.digest, ballot.view_digest, ballot.reason]
    sent += [ballot.answer] if ballot.answer else []
    return fingerprint(gate.tenant_id, canonical(sent))


def earlier_answer(gate: ApprovalGate, user: User, ballot: Ballot, decisions: Sequence[Decision]) -> Decision | None:
    """The decision that this very ballot led to before, whatever has become of the gate since.

    Raises:
        KeyReused: the key came with another ballot.
    """
    for decision in decisions:
        if decision.decided_by_id == user.pk and decision.idempotency_key == ballot.idempotency_key:
            if decision.ballot_fingerprint != ballot_fingerprint(gate, ballot):
                raise KeyReused
            return decision
    return None


def check_form(ballot: Ballot) -> None:
    """Refuse a ballot that no page of ours sends.

    Raises:
        BadBallot: an unknown kind, or a missing or over-long key, or an answer where none belongs.
        ReasonTooLong: a reason of more than 4,000 characters.
        AnswerMissing, AnswerTooLong: an answer of no words, or of more than 20,000 characters.
        SecretTyped: the reason or the answer, which a model reads, holds what looks like a live key or password.
    """
    if ballot.kind not in DecisionKind.values:
        raise BadBallot
    check_sent(ballot)
    if ballot.kind == "respond":
        _check_answer(ballot.answer)
    elif ballot.answer:
        raise BadBallot


def _check_answer(answer: str) -> None:
    if not answer.strip():
        raise AnswerMissing
    if len(answer) > MAX_ANSWER:
        raise AnswerTooLong
    try:
        answer.encode()
    except UnicodeEncodeError as error:
        raise BadBallot from error
    if pasted := refusal(answer, what="The answer"):
        raise SecretTyped(pasted)


def check_sent(sent: Ballot | Amendment) -> None:
    """Refuse a key or a reason that no page of ours sends; raises as `check_form`."""
    if not 1 <= len(sent.idempotency_key) <= _MAX_KEY:
        raise BadBallot
    if len(sent.reason) > MAX_REASON:
        raise ReasonTooLong
    try:
        f"{sent.digest}{sent.view_digest}{sent.idempotency_key}{sent.reason}".encode()
    except UnicodeEncodeError as error:
        raise BadBallot from error
    if pasted := refusal(sent.reason, what="The reason"):
        raise SecretTyped(pasted)


def check_ballot(
    gate: ApprovalGate, user: User, ballot: Ballot | Amendment, decisions: Sequence[Decision], now: datetime
) -> None:
    """Refuse a ballot or an edit that comes too late, was made on another view, or on a gate that was tampered with.

    Raises:
        Expired: nobody decided before `decide_by`.
        AlreadyDecided: somebody did, or the run was cancelled; carries who, when and how.
        AlreadyVoted: `user` has approved and others still have to.
        StaleView: the digests of the page are not the gate's.
        Tampered: the stored gate is not the one that was opened.
    """
    standing = [decision for decision in decisions if decision.gate_id == gate.id and decision.undone_at is None]
    _check_waiting(gate, standing, now)
    if any(decision.decided_by_id == user.pk for decision in standing):
        raise AlreadyVoted
    if (ballot.digest, ballot.view_digest) != (gate.digest, gate.view_digest):
        raise StaleView
    if gate_faults(gate) or not _shows_its_call(gate):
        raise Tampered


def check_waiting(gate: ApprovalGate, now: datetime) -> None:
    """Refuse what comes after the decision.

    Raises:
        Expired, AlreadyDecided: see `check_ballot`.
    """
    standing = list(Decision.objects.filter(gate_id=gate.id).standing().select_related("decided_by").in_order())
    _check_waiting(gate, standing, now)


def _check_waiting(gate: ApprovalGate, standing: Sequence[Decision], now: datetime) -> None:
    if gate.state == GateState.EXPIRED or (gate.state == GateState.PENDING and now >= gate.decide_by):
        raise Expired
    if gate.state != GateState.PENDING:
        raise _already_decided(gate, standing, now)


def _shows_its_call(gate: ApprovalGate) -> bool:
    """Whether the view that the reviewer read is of the very arguments that would run; the web tier sees for itself."""
    arguments = stored_binding(gate).arguments
    return shows_arguments(gate.tenant_id, gate.presentation, gate.redactor_version, arguments)


def check_undoable(gate: ApprovalGate, now: datetime) -> None:
    """Refuse an undo that comes too late.

    Raises:
        NothingToUndo: nothing was decided, or it was undone.
        HoldOver: the hold has ended, or the approval was used or lapsed.
    """
    if gate.state in {GateState.PENDING, GateState.EXPIRED, GateState.WITHDRAWN}:
        raise NothingToUndo
    if gate.state not in UNDOABLE or gate.hold_until is None or now >= gate.hold_until:
        raise HoldOver


def count_approvals(gate: ApprovalGate, decisions: Sequence[Decision]) -> int:
    """How many approvals of this gate stand among `decisions`."""
    return sum(
        decision.gate_id == gate.id and decision.undone_at is None and decision.kind == DecisionKind.APPROVE
        for decision in decisions
    )


def names_of(decisions: Sequence[Decision], kind: DecisionKind) -> str:
    """The display names of those whose decisions of this kind stand: "Rita Example and Rolf Example"."""
    return " and ".join(
        decision.decided_by.display_name
        for decision in decisions
        if decision.kind == kind and decision.undone_at is None
    )


_DECIDED_AS: dict[str, tuple[DecisionKind, str]] = {
    GateState.REJECTED: (DecisionKind.REJECT, "rejected"),
    GateState.ANSWERED: (DecisionKind.RESPOND, "answered"),
}


def _already_decided(gate: ApprovalGate, standing: Sequence[Decision], now: datetime) -> AlreadyDecided:
    if gate.state == GateState.WITHDRAWN:
        edited = ApprovalGate.objects.filter(reopens_id=gate.pk, edited_by__isnull=False).select_related("edited_by")
        for successor in edited:
            winner = successor.edited_by.display_name if successor.edited_by else ""
            return AlreadyDecided(winner=winner, state="edited", at=gate.closed_at or now, now=now)
        winner = gate.withdrawn_by.display_name if gate.withdrawn_by else ""
        return AlreadyDecided(winner=winner, state="withdrawn", at=gate.closed_at or now, now=now)
    kind, state = _DECIDED_AS.get(gate.state, (DecisionKind.APPROVE, "approved"))
    return AlreadyDecided(winner=names_of(standing, kind), state=state, at=gate.decided_at or now, now=now)
