"""Signs of life of what runs behind the pages. `/readyz` and `manage.py health` read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q

from routekit_site.tenancy.models import Heartbeat

# The sweep: it is sent by beat, carried by the broker and done by a worker, so its mark speaks for all three.
SWEEP = "sweep"
# The sweep's look at all runs that wait.
FULL_SWEEP = "full sweep"
# An alert: a tenant's value could not be redacted. The tenant's id follows.
_REDACTION_FAILED = "redaction failed:"
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


def turn(name: str, now: datetime, every: timedelta) -> bool:
    """Whether the caller is to do now what all processes together do once in `every`; of several, one is told so."""
    # A mark from the future is of a clock that has gone wrong since, and must not keep everybody waiting for it.
    due = Heartbeat.objects.filter(Q(at__lte=now - every) | Q(at__gt=now), name=name)
    return bool(due.update(at=now)) or Heartbeat.objects.get_or_create(name=name, defaults={"at": now})[1]


def leave_turn(name: str) -> None:
    """Whoever asks next is to do it: there was more to do than one turn does."""
    Heartbeat.objects.filter(name=name).delete()


def failure_sign(tenant_id: int) -> str:
    """The name under which failed redactions of a tenant are marked."""
    return f"{_REDACTION_FAILED}{tenant_id}"


def redaction_failures(since: datetime) -> dict[int, str]:
    """The tenants of which a value could not be redacted since then, each with the class of the last error."""
    found = Heartbeat.objects.filter(name__startswith=_REDACTION_FAILED, at__gt=since)
    return {int(row.name.removeprefix(_REDACTION_FAILED)): str(row.facts.get("error", "")) for row in found}


def last_sign(name: str, now: datetime) -> Sign | None:
    """The last sign of life of `name`; None when there never was one."""
    found = Heartbeat.objects.filter(name=name).first()
    if found is None:
        return None
    return Sign(age=max((now - found.at).total_seconds(), 0.0), facts=found.facts)
