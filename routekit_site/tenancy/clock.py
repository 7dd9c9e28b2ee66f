"""The one clock that leases, holds and expiry are judged by: the database's. A worker's own may be wrong."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from routekit_site.tenancy.statements import evaluated, execute


def database_now() -> datetime:
    """The database's time, aware. SQLite has no server: its one machine's clock is the database's."""
    if connection.vendor != "postgresql":
        return timezone.now()
    now: datetime = execute("SELECT clock_timestamp()", [])[0][0]
    return now


def clock_column() -> Combinable:
    """The database's time as a column of a query that is made anyway, to save a round trip."""
    if connection.vendor != "postgresql":
        return Value(timezone.now(), output_field=DateTimeField())
    return Now()


def clock_slot() -> Combinable:
    """`clock_column` for a compiled query (`statements.Query`): the time is looked at each time the query is run."""
    if connection.vendor != "postgresql":
        looked_at: Combinable = evaluated(timezone.now, DateTimeField())
        return looked_at
    return Now()
