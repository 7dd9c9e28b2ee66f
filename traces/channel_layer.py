"""An in-memory channel layer for one process in which threads and the server's event loop talk to each other."""

from __future__ import annotations

from channels.layers import InMemoryChannelLayer


class ThreadSafeInMemoryChannelLayer(InMemoryChannelLayer):
    """Placeholder until the feed's room is furnished in the next commit."""
