"""The last numbers of a tenant's feed and ledger, taken by one statement for all that a transaction tells.

Note [Gapless in commit order]: a transaction takes its numbers by updating the tenant's `TenantHead` row and holds that
row until it commits, so the next number is given only after this one is visible or its transaction has rolled back
and given it up. Hence the head is the last row that a transaction touches (see Note [Told at the end]).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from django.db import DatabaseError, transaction

from routekit_site.tenancy.statements import Write, execute, insertion, joins_writes, updating, write_all
from traces import notifier
from traces.errors import LedgerWriteFailed
from traces.models import FeedEntry, LedgerEntry, TenantHead

_TAKE = (
    "INSERT INTO traces_tenanthead (tenant_id, feed_number, ledger_number, ledger_hash) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (tenant_id) DO UPDATE SET feed_number = traces_tenanthead.feed_number + excluded.feed_number, "
    "ledger_number = traces_tenanthead.ledger_number + excluded.ledger_number "
    "RETURNING feed_number, ledger_number, ledger_hash"
)

Chained = Callable[[int, str], LedgerEntry]


@dataclass
class _Told:
    """What one tenant is told: feed entries by subject, and ledger entries that wait for their number and hash."""

    feed: dict[tuple[str, str], FeedEntry] = field(default_factory=dict)
    ledger: list[Chained] = field(default_factory=list)


class Heads:
    """The part of a block that writes feed and ledger (see `gathering.Part`)."""

    order: ClassVar[int] = 2

    def __init__(self) -> None:
        self._told: dict[int, _Told] = {}

    def announce(self, entry: FeedEntry) -> None:
        """Keep an entry for the feed. Of one subject only the last one is told: the others were never to be seen."""
        feed = self._told.setdefault(entry.tenant_id, _Told()).feed
        subject = (str(entry.topic), entry.subject_id)
        feed.pop(subject, None)
        feed[subject] = entry

    def chain(self, tenant_id: int, chained: Chained) -> None:
        """Keep an entry for the ledger: `chained` makes it of its number and the hash before it."""
        self._told.setdefault(tenant_id, _Told()).ledger.append(chained)

    def write(self, waiting: list[Write]) -> None:
        """Take the numbers, tenant by tenant, and write; all that waits goes with it, while the head is held."""
        try:
            if len(self._told) == 1 and joins_writes():
                ((tenant_id, told),) = self._told.items()
                if not told.ledger:
                    _write_at_once(tenant_id, list(told.feed.values()), waiting)
                    return
            for tenant_id in sorted(self._told):
                waiting += _writes(tenant_id, self._told[tenant_id])
            write_all(waiting)
        except DatabaseError as error:
            if any(told.ledger for told in self._told.values()):
                raise LedgerWriteFailed from error
            raise
        finally:
            waiting.clear()


def _write_at_once(tenant_id: int, entries: list[FeedEntry], waiting: list[Write]) -> None:
    """Take the numbers and write, in one statement: what most transactions tell, which is one feed and no ledger."""
    head = Write(_TAKE, [tenant_id, len(entries), 0, TenantHead.FIRST_HASH], name="head")
    number = f"(SELECT feed_number FROM head) - {len(entries) - 1} + {{row}}"
    found = write_all([head, *waiting, insertion(entries, computed=(("number", number),))])
    _ring_later(tenant_id, max(number for (number,) in found))


def _ring_later(tenant_id: int, number: int) -> None:
    # No partial: Django logs a robust callback's failure by its __qualname__, which a partial lacks.
    transaction.on_commit(lambda: notifier.ring(tenant_id, number), robust=True)


def _writes(tenant_id: int, told: _Told) -> list[Write]:
    entries = list(told.feed.values())
    taken = execute(_TAKE, [tenant_id, len(entries), len(told.ledger), TenantHead.FIRST_HASH])
    last_feed, last_ledger, previous = taken[0]
    writes = _ledger(tenant_id, told.ledger, last_ledger - len(told.ledger), previous) if told.ledger else []
    for number, entry in enumerate(entries, start=last_feed - len(entries) + 1):
        entry.number = number
    if entries:
        writes.append(insertion(entries))
        _ring_later(tenant_id, last_feed)
    return writes


def _ledger(tenant_id: int, waiting: list[Chained], number: int, previous: str) -> list[Write]:
    links: list[LedgerEntry] = []
    for chained in waiting:
        number += 1
        links.append(chained(number, previous))
        previous = links[-1].hash
    return [insertion(links), updating(TenantHead, {"tenant": tenant_id}, {"ledger_hash": previous})]
