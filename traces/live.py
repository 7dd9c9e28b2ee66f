"""The tenant's live feed: numbered without gaps, in the order of the commits (see Note [Gapless in commit order])."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from traces.errors import ContentInFeed, NoTransaction
from traces.gathering import keep
from traces.heads import Heads
from traces.kinds import FeedTopic
from traces.models import FeedEntry, TenantHead
from traces.payloads import JSON, clean_text

CATCH_UP_LIMIT = 500
_MAX_FACT = 200


@dataclass(frozen=True)
class Reset:
    """The reader is too far behind, or ahead of what exists: read the page afresh and go on from `number`."""

    number: int


def _check_facts(facts: Mapping[str, JSON]) -> None:
    for value in facts.values():
        short_text = isinstance(value, str) and len(value) <= _MAX_FACT
        if not (value is None or isinstance(value, (bool, int)) or short_text):
            raise ContentInFeed


def announce(*, tenant_id: int, topic: FeedTopic, subject_id: str, facts: Mapping[str, JSON], now: datetime) -> None:
    """Append one entry to the tenant's feed and ring the bell after the commit.

    In a gathered block, or as the last act of a transaction.

    Args:
        tenant_id: whose feed.
        topic: what kind of thing changed.
        subject_id: its id.
        facts: ids and states of it, never content: texts up to 200 characters, numbers, true, false, None.
        now: when.

    Raises:
        NoTransaction: called outside a transaction.
        ContentInFeed: `facts` hold something else.
    """
    if not connection.in_atomic_block:
        raise NoTransaction
    _check_facts(facts)
    entry = FeedEntry(
        tenant_id=tenant_id,
        at=now,
        topic=topic,
        subject_id=subject_id,
        facts={key: clean_text(value) if isinstance(value, str) else value for key, value in facts.items()},
    )
    keep(Heads, lambda heads: heads.announce(entry))


def latest_number(tenant_id: int) -> int:
    """The number of the tenant's newest committed entry; 0 before the first."""
    return latest_numbers([tenant_id]).get(tenant_id, 0)


def latest_numbers(tenant_ids: list[int]) -> dict[int, int]:
    """The newest numbers of several tenants, in one statement; tenants without an entry are left out."""
    return dict(TenantHead.objects.filter(tenant_id__in=tenant_ids).values_list("tenant_id", "feed_number"))


def entries_after(tenant_id: int, number: int, limit: int = CATCH_UP_LIMIT) -> list[dict[str, Any]] | Reset:
    """The entries after `number`, oldest first, as the feed's frames; `Reset` where they can't all be given.

    A frame is {"type": "entry", "number", "topic", "id", "facts", "at" (ISO 8601)}.
    """
    latest = latest_number(tenant_id)
    if number == latest:
        return []
    if number > latest or latest - number > limit:
        return Reset(latest)
    found = FeedEntry.objects.filter(tenant_id=tenant_id, number__gt=number).order_by("number")[:limit]
    frames = [_frame(entry) for entry in found]
    if not frames or frames[0]["number"] != number + 1:
        return Reset(latest)
    return frames


def next_entries(tenant_id: int, number: int, limit: int) -> list[dict[str, Any]]:
    """The first entries after `number` that are still kept, oldest first, as frames: for a reader without haste."""
    found = FeedEntry.objects.filter(tenant_id=tenant_id, number__gt=number).order_by("number")[:limit]
    return [_frame(entry) for entry in found]


def _frame(entry: FeedEntry) -> dict[str, Any]:
    return {
        "type": "entry",
        "number": entry.number,
        "topic": entry.topic,
        "id": entry.subject_id,
        "facts": entry.facts,
        "at": entry.at.isoformat(),
    }
