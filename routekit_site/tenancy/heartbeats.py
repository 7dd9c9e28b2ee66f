"""Signs of life of what runs behind the pages. `/readyz` and `manage.py health` read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from routekit_site.tenancy.models import Heartbeat

# The sweep: it is sent by beat, carried by the broker and done by a worker, so its mark speaks for all three.
SWEEP = "sweep"
# A mark each second would be a write each second; nobody needs to know it better than this.
_AT_MOST_EVERY = timedelta(seconds=3)


@dataclass(frozen=True)
class Sign:
    """A sign of life: its age in seconds, and what came with it."""

    age: float
    facts: Mapping[str, Any]


def mark(name: str, now: datetime, facts: Mapping[str, Any] | None = None) -> None:
    """Say that `name` is alive; does nothing when it was said moments ago."""
    values = {"at": now, "facts": dict(facts or {})}
    if Heartbeat.objects.filter(name=name, at__lte=now - _AT_MOST_EVERY).update(**values):
        return
    Heartbeat.objects.get_or_create(name=name, defaults=values)


def last_sign(name: str, now: datetime) -> Sign | None:
    """The last sign of life of `name`; None when there never was one."""
    found = Heartbeat.objects.filter(name=name).first()
    if found is None:
        return None
    return Sign(age=max((now - found.at).total_seconds(), 0.0), facts=found.facts)
