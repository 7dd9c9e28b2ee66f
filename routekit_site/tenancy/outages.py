"""Tells a database that can't be used now (away, full, read-only, out of connections) from a mistake of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, InternalError, OperationalError, connection

logger = logging.getLogger(__name__)

# Seconds after which it is worth trying again; PostgreSQL restarts, and pools refill, in about that time.
RETRY_AFTER = 5
_DEPTH = 10


def is_outage(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the database can't be used at the moment.

    A read-only database is an InternalError on PostgreSQL, a full disk an OperationalError on both.
    """
    for _ in range(_DEPTH):
        if error is None:
            return False
        if isinstance(error, (OperationalError, InterfaceError, InternalError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def cause(error: BaseException | None) -> str:
    """What the database's own code for an outage says, such as "SQLITE_FULL" or "DiskFull"; never a text of it.

    An error's text may hold values.
    """
    name = type(error).__name__
    for _ in range(_DEPTH):
        if error is None:
            break
        code = getattr(error, "sqlite_errorname", None) or (
            type(error).__name__ if hasattr(error, "sqlstate") else None
        )
        if code:
            return str(code)
        error = error.__cause__ or error.__context__
    return name


@contextmanager
def despite_outages(what: str) -> Iterator[None]:
    """One clear line where the database can't be used; nothing is half done, the next sweep brings the work back."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        logger.warning("the database can't be used (%s): %s waits for the next sweep", cause(error), what)
        connection.close()
