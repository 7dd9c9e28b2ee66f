"""Reviews of a tenant's policy: who looked, when, and when the next look is due. Each is an entry of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from traces import ledger
from traces.kinds import LedgerKind
from traces.models import LedgerEntry

_WHAT = "policy review"
# As canonical JSON writes it.
_MARK = f'"what":"{_WHAT}"'


@dataclass(frozen=True)
class Review:
    """One review."""

    by: str
    at: datetime
    next_due: datetime


def record_review(*, tenant_id: int, actor: str, note: str, days: int, now: datetime) -> Review:
    """Keep a review in the ledger, in the caller's transaction; the next one is due in `days`."""
    due = now + timedelta(days=days)
    facts = {"what": _WHAT, "next_due": due.isoformat(), "note": note}
    ledger.append(tenant_id=tenant_id, kind=LedgerKind.POLICY_CHANGE, actor=actor, facts=facts, now=now)
    return Review(actor, now, due)


def latest_review(tenant_id: int) -> Review | None:
    """The newest review of a tenant that the ledger still holds."""
    found = LedgerEntry.objects.filter(tenant_id=tenant_id, kind=LedgerKind.POLICY_CHANGE, facts__contains=_MARK)
    entry = found.order_by("-number").first()
    if entry is None:
        return None
    try:
        due = datetime.fromisoformat(str(ledger.facts_of(entry).get("next_due")))
    except ValueError:
        return None
    return Review(entry.actor, entry.at, due)
