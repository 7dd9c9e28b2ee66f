"""Soft claims: who has taken a waiting call upon themselves. Others are told; nobody is kept from deciding.

A claim lasts two minutes and is renewed by the page that shows the call. A takeover is an act of its own, and both
people are told. Claims leave no trace: they say what somebody means to do, and a decision says what they did.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from approvals.errors import NotWaiting
from approvals.gates import check_decide, needs_transaction
from approvals.models import ApprovalGate, Claim
from approvals.states import GateState
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.models import User
from traces import live
from traces.kinds import FeedTopic

LEASE = timedelta(minutes=2)


@dataclass(frozen=True)
class Holder:
    """Who holds a claim. `taken_from` is the display name of whom it was taken over from, or empty."""

    person_id: int
    name: str
    since: datetime
    until: datetime
    taken_from: str = ""


@needs_transaction
def claim(gate_id: uuid.UUID, user: User, *, take: bool, now: datetime) -> Holder:
    """Claim a waiting gate, or renew one's claim; answers who holds it then.

    Somebody else's claim that still stands is left alone unless `take` says to take it over.

    Raises:
        NotVisible, NotAllowed, OwnRun: see `check_decide`; who can't decide can't claim.
        NotWaiting: the gate is not pending.
    """
    gate = _waiting(gate_id, user)
    fresh = {"person": user, "since": now, "until": now + LEASE}
    found, created = Claim.objects.get_or_create(gate=gate, defaults=fresh)
    if created:
        _announce(gate, now, by=user.pk)
        return _holder(found)
    found = Claim.objects.select_for_update(of=("self",)).select_related("person", "taken_from").get(gate=gate)
    over = found.until <= now
    if found.person_id != user.pk and not over and not take:
        return _holder(found)
    if found.person_id == user.pk and not over:
        Claim.objects.filter(gate=gate).update(until=now + LEASE)
        found.until = now + LEASE
        return _holder(found)
    return _taken(found, gate, user, now, over=over)


@needs_transaction
def release(gate_id: uuid.UUID, user: User, *, now: datetime) -> None:
    """Give one's claim up; somebody else's is left alone.

    Raises:
        NotVisible: there is no such gate.
    """
    gate = ApprovalGate.objects.filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    if Claim.objects.filter(gate_id=gate_id, person=user).delete()[0]:
        _announce(gate, now, by=0, was=user.pk)


def holder(gate: ApprovalGate, now: datetime) -> Holder | None:
    """Who holds the claim of a gate now; None where nobody does or nobody waits for a decision."""
    return holders([gate], now).get(gate.pk)


def holders(gates: Iterable[ApprovalGate], now: datetime) -> dict[uuid.UUID, Holder]:
    """The holders of those gates that are claimed. One query."""
    waiting = [gate.pk for gate in gates if gate.state == GateState.PENDING]
    if not waiting:
        return {}
    found = Claim.objects.standing(now).filter(gate__in=waiting).select_related("person", "taken_from")
    return {each.gate_id: _holder(each) for each in found}


def _waiting(gate_id: uuid.UUID, user: User) -> ApprovalGate:
    # Locked before anything else, as everywhere: the claim's foreign key is checked at the commit and wants the row,
    # and a decision that holds it may be waiting for the tenant's head, which the claim's feed entry holds by then.
    gate = ApprovalGate.objects.select_for_update().filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    check_decide(user, gate)
    if gate.state != GateState.PENDING:
        raise NotWaiting
    return gate


def _taken(found: Claim, gate: ApprovalGate, user: User, now: datetime, *, over: bool) -> Holder:
    """The claim of somebody whose own is over, or was taken from whom it belonged to."""
    was = 0 if over else found.person_id
    loser = None if over else found.person
    changes = {"person": user, "since": now, "until": now + LEASE, "taken_from": loser}
    Claim.objects.filter(gate=gate).update(**changes)
    _announce(gate, now, by=user.pk, was=was)
    return Holder(user.pk, user.display_name, now, now + LEASE, loser.display_name if loser else "")


def _holder(found: Claim) -> Holder:
    taken_from = found.taken_from.display_name if found.taken_from else ""
    return Holder(found.person_id, found.person.display_name, found.since, found.until, taken_from)


def _announce(gate: ApprovalGate, now: datetime, *, by: int, was: int = 0) -> None:
    """Tell the tenant's open pages whose the claim is (0: nobody's) and whose it was."""
    live.announce(
        tenant_id=gate.tenant_id,
        topic=FeedTopic.CLAIM,
        subject_id=str(gate.pk),
        facts={"by": by, "was": was, "tool": gate.tool},
        now=now,
    )
