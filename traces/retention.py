"""Forgetting: traces, ledger entries and feed entries whose time is over. Deletes in batches, and says what it deleted.

Each function deletes one batch inside the caller's transaction and returns how many rows went; less than `limit` means
that nothing is left to do. A legal hold stops all but the feed, which holds ids only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from traces import ledger
from traces.errors import NoTransaction
from traces.kinds import LedgerKind
from traces.models import (
    MAX_DAYS,
    FeedEntry,
    LedgerEntry,
    RetentionPermit,
    RetentionPolicy,
    TenantHead,
    Trace,
    TraceEvent,
)

ACTOR = "retention"
FEED_DAYS = 7
_FEED_KEPT = 10_000


@dataclass(frozen=True)
class RawRetention:
    """For how many days after a run's end a tenant keeps its raw values; the floors that hold them delete them."""

    tenant_id: int
    days: int


def raw_retentions() -> list[RawRetention]:
    """The tenants that ask for raw values to be deleted."""
    asking = RetentionPolicy.objects.filter(legal_hold=False).exclude(raw_days=None)
    found = asking.values_list("tenant_id", "raw_days")
    return [RawRetention(tenant_id, min(days, MAX_DAYS)) for tenant_id, days in found if days]


def note_raw(policy: RawRetention, *, runs: int, values: int, first: datetime, last: datetime, now: datetime) -> None:
    """Write into the ledger that the raw values of so many runs, which finished between two times, were deleted."""
    facts = {
        "raw_runs": runs,
        "raw_values": values,
        "finished_from": str(first),
        "finished_to": str(last),
        "days": policy.days,
    }
    ledger.append(tenant_id=policy.tenant_id, kind=LedgerKind.RETENTION, actor=ACTOR, facts=facts, now=now)


def policies() -> list[RetentionPolicy]:
    """The policies that ask for something to be deleted."""
    return list(RetentionPolicy.objects.filter(legal_hold=False).exclude(trace_days=None, ledger_days=None))


def tenants_with_feed() -> list[int]:
    """Ids of the tenants that have a feed."""
    return list(TenantHead.objects.filter(feed_number__gt=_FEED_KEPT).values_list("tenant_id", flat=True))


def _before(now: datetime, days: int) -> datetime:
    """So many days ago; a number that was stored by another way than the form's must not stop the other tenants."""
    return now - timedelta(days=min(days, MAX_DAYS))


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise NoTransaction


@contextmanager
def _permit(tenant_id: int) -> Iterator[None]:
    """Open the append-only tables for this transaction (see `append_only`)."""
    permit = RetentionPermit.objects.create(tenant_id=tenant_id)
    yield
    permit.delete()


def is_held(tenant_id: int) -> bool:
    """Whether a legal hold was set since the policies were read; the row is locked, so none is set meanwhile."""
    _require_transaction()
    return RetentionPolicy.objects.select_for_update().filter(pk=tenant_id, legal_hold=True).exists()


def forget_traces(policy: RetentionPolicy, now: datetime, limit: int = 100) -> int:
    """Delete the oldest finished traces that are past `trace_days`, with their events; at most `limit` traces."""
    _require_transaction()
    if policy.trace_days is None or is_held(policy.tenant_id):
        return 0
    until = _before(now, policy.trace_days)
    old = Trace.objects.filter(tenant_id=policy.tenant_id, finished_at__lt=until).order_by("finished_at")
    found = list(old.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)[:limit])
    if not found:
        return 0
    keys = [trace.pk for trace in found]
    with _permit(policy.tenant_id):
        events = TraceEvent.objects.filter(trace_id__in=keys)._raw_delete("default")  # noqa: SLF001 - no cascade to look for
        Trace.objects.filter(pk__in=keys)._raw_delete("default")  # noqa: SLF001 - as above
    facts = {
        "traces": len(keys),
        "events": events,
        "finished_from": str(found[0].finished_at),
        "finished_to": str(found[-1].finished_at),
        "days": policy.trace_days,
    }
    ledger.append(tenant_id=policy.tenant_id, kind=LedgerKind.RETENTION, actor=ACTOR, facts=facts, now=now)
    return len(keys)


def forget_ledger(policy: RetentionPolicy, now: datetime, limit: int = 1000) -> int:
    """Delete the oldest ledger entries that are past `ledger_days`, from the beginning of the chain on.

    The chain then begins at its base: the number and hash of the last entry that was deleted, which stand in the
    tenant's head and in a retention entry of the chain itself, so that `ledger.verify` holds what is left.
    """
    _require_transaction()
    if policy.ledger_days is None or is_held(policy.tenant_id):
        return 0
    head = TenantHead.objects.select_for_update().filter(pk=policy.tenant_id).first()
    if head is None:
        return 0
    until = _before(now, policy.ledger_days)
    entries = LedgerEntry.objects.filter(tenant_id=policy.tenant_id).order_by("number")
    oldest = list(entries.filter(number__gt=head.ledger_base_number)[:limit])
    past = next((place for place, entry in enumerate(oldest) if entry.at >= until), len(oldest))
    if not past:
        return 0
    last = oldest[past - 1]
    with _permit(policy.tenant_id):
        entries.filter(number__lte=last.number)._raw_delete("default")  # noqa: SLF001 - as above
    TenantHead.objects.filter(pk=policy.tenant_id).update(ledger_base_number=last.number, ledger_base_hash=last.hash)
    facts = {"ledger_to": last.number, "ledger_hash": last.hash, "entries": past, "days": policy.ledger_days}
    ledger.append(tenant_id=policy.tenant_id, kind=LedgerKind.RETENTION, actor=ACTOR, facts=facts, now=now)
    return past


def forget_feed(tenant_id: int, now: datetime, limit: int = 5000) -> int:
    """Delete feed entries older than a week, but for the newest 10,000: pages catch up from those."""
    _require_transaction()
    head = TenantHead.objects.filter(pk=tenant_id).first()
    if head is None:
        return 0
    old = FeedEntry.objects.filter(
        tenant_id=tenant_id, number__lte=head.feed_number - _FEED_KEPT, at__lt=now - timedelta(days=FEED_DAYS)
    )
    keys = list(old.order_by("number").values_list("pk", flat=True)[:limit])
    FeedEntry.objects.filter(pk__in=keys).delete()
    return len(keys)
