"""What the rest of the house is told of a gate's move, in the transaction that moves it: trace, ledger, feed, bell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals.models import ApprovalGate
from approvals.signals import gate_decided
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.models import User
from traces import ledger, live, recorder
from traces.errors import UnknownTrace
from traces.kinds import EventKind, FeedTopic, LedgerKind


def record(gate: ApprovalGate, kind: EventKind, now: datetime, facts: Mapping[str, Any], *, actor: str = "") -> None:
    """Append the event to the run's trace. `facts` are raw: the recorder redacts them."""
    recorder.record(
        run_id=gate.run_id,
        kind=kind,
        payload={"state": str(gate.state), "tool": gate.tool, **facts},
        now=now,
        call_id=gate.call_id,
        gate_id=gate.id,
        actor=actor,
    )


def append(gate: ApprovalGate, user: User, facts: Mapping[str, Any], now: datetime, *, actor: str = "") -> None:
    """Append what a person did to the tenant's ledger; a failure undoes the whole move."""
    whose = {"gate": str(gate.id), "run": str(gate.run_id), "tool": gate.tool, "person": user.pk}
    ledger.append(
        tenant_id=gate.tenant_id,
        kind=LedgerKind.DECISION,
        actor=actor or user.get_username(),
        facts={**whose, "state": str(gate.state), **facts},
        now=now,
    )


def announce(gate: ApprovalGate, now: datetime, **facts: int) -> None:
    """Tell the tenant's open pages (see `live.announce`)."""
    known = {"state": str(gate.state), "tool": gate.tool, "risk": gate.risk, "run": str(gate.run_id)}
    live.announce(
        tenant_id=gate.tenant_id,
        topic=FeedTopic.GATE,
        subject_id=str(gate.id),
        facts={**known, "version": gate.version, **facts},
        now=now,
    )


def revealed(gate: ApprovalGate, user: User, facts: Mapping[str, Any], now: datetime) -> None:
    """Trace, ledger and feed of a masked value that is about to be shown. `facts` never hold the value."""
    name = user.get_username()
    record(gate, EventKind.VALUE_REVEALED, now, facts, actor=name)
    whose = {"gate": str(gate.id), "run": str(gate.run_id), "tool": gate.tool, "person": user.pk}
    ledger.append(
        tenant_id=gate.tenant_id,
        kind=LedgerKind.REVEAL,
        actor=name,
        facts={**whose, "digest": gate.digest, **facts},
        now=now,
    )
    announce(gate, now)


def remarked(gate: ApprovalGate, user: User, facts: Mapping[str, Any], now: datetime) -> None:
    """Trace and feed of a remark; the submitter's page is told as well."""
    record(gate, EventKind.REMARK, now, facts, actor=user.get_username())
    announce(gate, now, submitter=gate.requester_id)


def decision_refused(gate: ApprovalGate, user: User, sent: Mapping[str, Any], error: Exception, now: datetime) -> None:
    """Trace and ledger of a refused decision: who, when, on which call, under which policy and redaction, why."""
    refusal = {**sent, "refused": type(error).__name__, "why": str(error)}
    bound = {
        "digest": gate.digest,
        "view_digest": gate.view_digest,
        "policy_digest": gate.policy_digest,
        "redactor_version": gate.redactor_version,
    }
    # Whoever is no member (any more) is not named: this tenant's people see nothing of another one's.
    actor = "no member" if isinstance(error, NotVisible) else user.get_username()
    # A trace may have been forgotten by now; the ledger keeps the refusal all the same.
    with suppress(UnknownTrace):
        record(gate, EventKind.DECISION_REFUSED, now, refusal, actor=actor)
    append(gate, user, refusal | bound, now, actor=actor)


def ring(gates: Sequence[ApprovalGate]) -> None:
    """Ring `gate_decided` for each gate, after the commit and whatever fails there."""
    for gate in gates:
        transaction.on_commit(_bell(gate.id, gate.run_id), robust=True)


def superseded(old: ApprovalGate, new: ApprovalGate, editor: User, reason: str, now: datetime) -> None:
    """Trace, ledger and feed of an edit. `reason` is redacted already."""
    name = editor.get_username()
    edit = {"edited_as": str(new.id), "reason": reason}
    record(old, EventKind.GATE_CLOSED, now, edit, actor=name)
    record(new, EventKind.GATE_OPENED, now, {"edit_of": str(old.id), "rule": new.rule, "level": new.level}, actor=name)
    digests = {"digest": old.digest, "new_digest": new.digest, "new_view_digest": new.view_digest}
    append(old, editor, {"kind": "edit", **edit, **digests}, now)
    announce(old, now)
    announce(new, now)


def renewed(old: ApprovalGate, new: ApprovalGate, now: datetime) -> None:
    """Trace and feed of a call that is asked about anew under today's redaction."""
    record(old, EventKind.GATE_CLOSED, now, {"reason": "What is masked has changed.", "asked_anew": str(new.id)})
    record(new, EventKind.GATE_OPENED, now, {"renews": str(old.id), "rule": new.rule, "level": new.level})
    announce(old, now)
    announce(new, now)


def _bell(gate_id: UUID, run_id: UUID) -> Callable[[], None]:
    # A function and no partial: Django logs a robust callback's failure by its __qualname__, which a partial lacks.
    def send() -> None:
        gate_decided.send(sender=ApprovalGate, gate_id=gate_id, run_id=run_id)

    return send


def tell_closed(gates: Sequence[ApprovalGate], now: datetime, facts: Mapping[str, Any]) -> None:
    """Trace and feed of gates that were closed, in the lock order: traces by run, then tenants."""
    for gate in sorted(gates, key=lambda gate: (gate.run_id, gate.id)):
        record(gate, EventKind.GATE_CLOSED, now, facts)
    for gate in sorted(gates, key=lambda gate: (gate.tenant_id, gate.id)):
        announce(gate, now)
