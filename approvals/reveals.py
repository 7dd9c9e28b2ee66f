"""Masked values shown on request: one at a time, to whoever may, with a reason, and on the record first.

A value is named by its mark, the keyed fingerprint on its chip: so it can be asked for, and compared with what was
approved before, by people who don't see it. What is revealed goes into one answer to one person and is kept nowhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser

from approvals import publishing
from approvals.errors import (
    NothingMasked,
    NotWaiting,
    ReasonMissing,
    ReasonTooLong,
    RevealStale,
    SecretTyped,
    Tampered,
)
from approvals.gates import check_view_gate, needs_transaction
from approvals.integrity import gate_faults, stored_binding
from approvals.models import ApprovalGate, Reveal
from approvals.presentation import masked_parts
from approvals.states import GateState
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Capability
from traces.pasted_secrets import refusal
from traces.redactors import redact, redactor_version

MAX_REASON = 500
_APPROVED = (GateState.APPROVED, GateState.SPENT, GateState.LAPSED)


@dataclass(frozen=True)
class MaskedValue:
    """A value that a reviewer sees as a chip. `approved_at` is set where the last approved call had the same one there.

    `reveals` counts how often it was shown to anybody while this call waited.
    """

    argument: str
    label: str
    mark: str
    times: int
    approved_at: datetime | None = None
    reveals: int = 0


@dataclass(frozen=True)
class Revealed:
    """A raw value, on its way to the one person who asked. Never stored, never logged."""

    argument: str
    label: str
    value: str

    def __repr__(self) -> str:
        return f"Revealed({self.argument!r}, {self.label!r})"


def check_reveal(user: User | AnonymousUser, gate: ApprovalGate) -> Membership:
    """The membership under which `user` may see a masked value of this gate.

    Raises:
        NotVisible: no member of the gate's tenant.
        NotAllowed: a member without the capability.
    """
    check_view_gate(user, gate)
    return check_capability(user, gate.tenant_id, Capability.REVEAL_VALUE)


def can_reveal(user: User | AnonymousUser, gate: ApprovalGate) -> bool:
    """Whether `check_reveal` would pass."""
    try:
        check_reveal(user, gate)
    except (NotVisible, NotAllowed):
        return False
    return True


@needs_transaction
def reveal(gate_id: uuid.UUID, user: User, mark: str, reason: str, *, now: datetime) -> Revealed:
    """Put on record that one masked value of a waiting call is shown, and answer it. The record comes first.

    Raises:
        NotVisible, NotAllowed: see `check_reveal`.
        NotWaiting: nobody has to decide about the call any more.
        ReasonMissing, ReasonTooLong: no reason, or one of more than 500 characters.
        SecretTyped: the reason holds what looks like a live key or password.
        NothingMasked: the call shows no such mark.
        RevealStale: redaction has changed since the call was opened.
        Tampered: the stored gate is not the one that was opened.
    """
    gate = ApprovalGate.objects.select_for_update().filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    check_reveal(user, gate)
    if gate.state != GateState.PENDING or now >= gate.decide_by:
        raise NotWaiting
    _check_reason(reason)
    shown = next((value for value in masked_values(gate.presentation) if value.mark == mark), None)
    if shown is None:
        raise NothingMasked
    found = _raw(gate, shown)
    _record(gate, user, shown, str(redact(gate.tenant_id, reason.strip())), now)
    return found


def masked_values(presentation: Mapping[str, Any]) -> list[MaskedValue]:
    """The different masked values among the arguments of a stored view, in the order in which they are shown."""
    found: dict[str, MaskedValue] = {}
    for argument, chip in _chips(presentation):
        known = found.get(chip["mark"])
        times = known.times + 1 if known else 1
        first = known.argument if known else argument
        found[chip["mark"]] = MaskedValue(first, chip["label"], chip["mark"], times)
    return list(found.values())


def masked_of(gate: ApprovalGate) -> list[MaskedValue]:
    """The masked values of a gate, each with whether the last approved call of this tool had the same one there."""
    values = masked_values(gate.presentation)
    if not values:
        return []
    before = ApprovalGate.objects.in_tenant(gate.tenant_id).filter(tool=gate.tool, state__in=_APPROVED)
    last = before.exclude(pk=gate.pk).order_by("-decided_at", "id").first()
    approved = {(name, chip["mark"]) for name, chip in _chips(last.presentation)} if last else set()
    seen = list(Reveal.objects.filter(gate=gate).values_list("mark", flat=True))
    return [
        MaskedValue(
            each.argument,
            each.label,
            each.mark,
            each.times,
            last.decided_at if last and (each.argument, each.mark) in approved else None,
            seen.count(each.mark),
        )
        for each in values
    ]


def _chips(presentation: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """(argument, chip) for each chip that has a mark: one has none where what it hides can't be told for certain."""
    for argument in presentation["arguments"]:
        for segment in argument["block"]["segments"]:
            if segment["kind"] == "chip" and segment["mark"]:
                yield argument["name"], segment


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise ReasonMissing
    if len(reason) > MAX_REASON:
        message = f"The reason is too long: at most {MAX_REASON} characters are taken."
        raise ReasonTooLong(message)
    if pasted := refusal(reason, what="The reason"):
        raise SecretTyped(pasted)


def _raw(gate: ApprovalGate, shown: MaskedValue) -> Revealed:
    """The value behind a mark, from the sealed arguments, which must be those that the view was made of."""
    if gate_faults(gate):
        raise Tampered
    for argument, part in masked_parts(gate.tenant_id, stored_binding(gate).arguments):
        if (argument, part.mark) == (shown.argument, shown.mark):
            return Revealed(argument, shown.label, part.hidden)
    stale = redactor_version(gate.tenant_id) != gate.redactor_version
    raise RevealStale if stale else NothingMasked


def _record(gate: ApprovalGate, user: User, shown: MaskedValue, reason: str, now: datetime) -> None:
    """Row, trace, ledger and feed; a failure of any of them keeps the value hidden."""
    row = Reveal(
        tenant_id=gate.tenant_id,
        gate=gate,
        argument=shown.argument[:200],
        label=shown.label[:60],
        mark=shown.mark,
        reason=reason,
        revealed_by=user,
        revealed_at=now,
    )
    row.save(force_insert=True)
    facts = {"argument": shown.argument, "label": shown.label, "mark": shown.mark, "reason": reason}
    publishing.revealed(gate, user, facts, now)
