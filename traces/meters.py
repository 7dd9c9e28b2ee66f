"""What a process measures of its own live feed, for `/metrics`."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram

_DELAY = Histogram(
    "routekit_feed_delay_seconds",
    "From an entry's transaction to its being queued to this process's sockets",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30),
    registry=None,
)
_ENTRIES = Counter("routekit_feed_entries", "Entries that this process has queued to its sockets", registry=None)


def register(registry: CollectorRegistry) -> None:
    """Let `registry` collect this process's figures."""
    registry.register(_DELAY)
    registry.register(_ENTRIES)


def published(at: str) -> None:
    """An entry of this moment (ISO 8601) was queued to the sockets of its tenant."""
    _ENTRIES.inc()
    _DELAY.observe(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()))
