"""Quiet hours: times of day in a person's own time zone in which nothing rings. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@dataclass(frozen=True)
class QuietHours:
    """From `start` to `end` (exclusive) each day in `zone`, an IANA name. Equal times mean all day."""

    start: time
    end: time
    zone: str

    def over_at(self, now: datetime) -> datetime | None:
        """When the quiet that holds at `now` (aware) ends, or None when it does not hold."""
        zone = zone_of(self.zone)
        local = now.astimezone(zone)
        clock = local.time()
        if self.start < self.end:
            quiet, days = self.start <= clock < self.end, 0
        else:
            quiet, days = clock >= self.start or clock < self.end, int(clock >= self.start)
        if not quiet:
            return None
        day = local.date() + timedelta(days=days)
        end = datetime.combine(day, self.end, zone).astimezone(now.tzinfo)
        # The hour that is skipped in spring: an end that does not exist must not lie in the past.
        return max(end, now + timedelta(minutes=1))


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name; UTC for a name that this machine does not know (any more)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
