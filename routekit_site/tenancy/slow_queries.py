"""Statements that took long: counted for `/metrics`, and logged with their text, which holds no values."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from prometheus_client import CollectorRegistry, Counter

logger = logging.getLogger(__name__)

# A statement that waits for a lock counts as well: whoever waits for the page waits as long.
SLOW_SECONDS = 1.0
_SHOWN = 300

_COUNT = Counter(
    "routekit_slow_queries", "Statements of this process that took the database a second or longer", registry=None
)


def register(registry: CollectorRegistry) -> None:
    """Let `registry` collect this process's count."""
    registry.register(_COUNT)


def count() -> int:
    """How many this process has seen."""
    return int(next(iter(_COUNT.collect())).samples[0].value)


def watch(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Time each statement of a connection that was just opened; a thread's next connection is timed already."""
    del kwargs
    if _timed not in connection.execute_wrappers:
        connection.execute_wrappers.append(_timed)


def others(connection: BaseDatabaseWrapper) -> bool:
    """Whether anybody but `watch` wraps the statements of a connection."""
    wrappers = connection.execute_wrappers
    return len(wrappers) > 1 or (len(wrappers) == 1 and wrappers[0] is not _timed)


def note(sql: str, began: float) -> None:
    """A statement that began at `began`, by the monotonic clock, has ended: log and count it where it was slow."""
    took = time.monotonic() - began
    if took >= SLOW_SECONDS:
        _COUNT.inc()
        logger.warning("a statement took %.1f s: %s", took, " ".join(sql.split())[:_SHOWN])


def _timed(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001 - Django's signature
    began = time.monotonic()
    try:
        return execute(sql, params, many, context)
    finally:
        note(str(sql), began)
