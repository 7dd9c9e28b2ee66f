"""What people say to each other about a waiting call: a question to the submitter, their answer, a note.

Redacted before storage; shown beside the call, which stays as it was: a remark changes neither what would run nor a
digest. It stops no clock either: a call that nobody decides in time is refused, whoever still waits for an answer.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction

from approvals import publishing
from approvals.errors import BadBallot, KeyReused, NothingAsked, NotWaiting, SecretTyped, WordsMissing, WordsTooLong
from approvals.gates import check_decide, check_view_gate, needs_transaction
from approvals.models import ApprovalGate, Remark, RemarkKind
from approvals.states import GateState
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import User
from traces.pasted_secrets import refusal
from traces.redactors import redact

MAX_WORDS = 4000
MAX_REMARKS = 50
_MAX_KEY = 64


@dataclass(frozen=True)
class Said:
    """One remark as pages show it; the text is redacted. `open`: a question that nobody has answered."""

    id: uuid.UUID
    kind: str
    by: str
    at: datetime
    text: str
    open: bool


def check_remark(user: User | AnonymousUser, gate: ApprovalGate, kind: RemarkKind) -> None:
    """Questions are for whoever may decide, answers for the submitter, notes for both.

    Raises:
        NotVisible: no member of the gate's tenant.
        NotAllowed: a member who may not.
    """
    check_view_gate(user, gate)
    own = user.pk == gate.requester_id
    if kind == RemarkKind.ANSWER and not own:
        raise NotAllowed("Only the person who submitted the job can answer.")
    if kind == RemarkKind.QUESTION or (kind == RemarkKind.NOTE and not own):
        check_decide(user, gate)


def can_remark(user: User | AnonymousUser, gate: ApprovalGate, kind: RemarkKind) -> bool:
    """Whether `check_remark` would pass."""
    try:
        check_remark(user, gate, kind)
    except (NotVisible, NotAllowed):
        return False
    return True


@needs_transaction
def say(gate_id: uuid.UUID, user: User, kind: RemarkKind, words: str, *, key: str, now: datetime) -> Remark:
    """Store a remark about a waiting gate and tell those who look at it. The same form sent twice is one remark.

    Raises:
        NotVisible, NotAllowed, OwnRun: see `check_remark`.
        WordsMissing, WordsTooLong, BadBallot: no words, more than 4,000 characters, or no key of a form of ours.
        SecretTyped: the words hold what looks like a live key or password.
        KeyReused: the key came with other words, or about another call.
        NotWaiting: nobody has to decide about the call any more, or 50 remarks were made about it.
        NothingAsked: an answer, and no question is open.
    """
    gate = ApprovalGate.objects.select_for_update().filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    check_remark(user, gate, kind)
    _check_words(words, key)
    text = str(redact(gate.tenant_id, words.strip()))
    earlier = Remark.objects.filter(author=user, key=key).first()
    if earlier is not None:
        if (earlier.gate_id, earlier.kind, earlier.text) != (gate.pk, kind, text):
            raise KeyReused("This form was sent before, with other words. Reload the page and write these again.")
        return earlier
    _check_open(gate, now)
    remark = Remark(gate=gate, kind=kind, author=user, at=now, text=text, key=key)
    if kind == RemarkKind.ANSWER:
        remark.answers = _open_question(gate)
    _save(remark)
    publishing.remarked(gate, user, {"kind": kind.value, "text": remark.text}, now)
    return remark


def of_gate(gate: ApprovalGate) -> list[Said]:
    """What was said about a gate, and about the one that it reopens; oldest first."""
    about = [gate.pk, *([gate.reopens_id] if gate.reopens_id is not None else [])]
    found = list(Remark.objects.filter(gate__in=about).select_related("author").order_by("at", "id"))
    answered = {each.answers_id for each in found if each.answers_id}
    return [
        Said(
            each.pk,
            each.kind,
            each.author.display_name,
            each.at,
            each.text,
            each.kind == RemarkKind.QUESTION and each.pk not in answered,
        )
        for each in found
    ]


def _check_words(words: str, key: str) -> None:
    if not 1 <= len(key) <= _MAX_KEY:
        raise BadBallot
    if not words.strip():
        raise WordsMissing
    if len(words) > MAX_WORDS:
        raise WordsTooLong
    if pasted := refusal(words):
        raise SecretTyped(pasted)
    try:
        f"{words}{key}".encode()
    except UnicodeEncodeError as error:
        raise BadBallot from error


def _check_open(gate: ApprovalGate, now: datetime) -> None:
    if gate.state != GateState.PENDING or now >= gate.decide_by:
        raise NotWaiting
    if Remark.objects.filter(gate=gate).count() >= MAX_REMARKS:
        raise NotWaiting(f"There are {MAX_REMARKS} remarks about this call already. Decide it, or talk to each other.")


def _open_question(gate: ApprovalGate) -> Remark:
    asked = Remark.objects.filter(gate=gate, kind=RemarkKind.QUESTION, answered_by=None).order_by("at", "id").first()
    if asked is None:
        raise NothingAsked
    return asked


def _save(remark: Remark) -> None:
    try:
        with transaction.atomic():
            remark.save(force_insert=True)
    except IntegrityError as error:
        # The gate is locked, so what clashes is this person's key on another gate at the same moment.
        raise KeyReused from error
