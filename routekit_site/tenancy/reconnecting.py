"""Which of a worker's database connections go on from one task to the next."""

from __future__ import annotations

from django.db import connections


def renew_connections() -> None:
    """At the beginning of a task: let go of connections that failed or are too old, as `close_old_connections` does.

    A file of SQLite has no server that restarts, and opening it costs nearly half of a run's work: its schema is read
    anew, and whoever closes it last writes its log back and waits for the disk. So it stays open while it works.
    """
    for connection in connections.all(initialized_only=True):
        if connection.vendor != "sqlite" or connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()
