"""The one clock that leases, holds and expiry are judged by: the database's. A worker's own may be wrong."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.db.models import DateTimeField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone


def database_now() -> datetime:
    """The database's time, aware. SQLite has no server: its one machine's clock is the database's."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def clock_column() -> Combinable:
    """The database's time as a column of a query that is made anyway, to save a round trip."""
    if connection.vendor != "postgresql":
        return Value(timezone.now(), output_field=DateTimeField())
    return Now()
