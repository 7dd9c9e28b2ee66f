"""Rings the feed's bell from any thread of any process: one event loop thread a process, one connection to the broker.

The bell carries a tenant and a number. The rows are the message: a bell that is lost costs a reader the time until
its next look (`hub.POLL_SECONDS`), never an entry.

Note [One loop a process]: `async_to_sync(group_send)` opens a connection each time (3-4 ms measured); a loop of its
own keeps one: the first bell takes 6 to 17 ms, each later one 0.25 ms. Redis' client belongs to the loop it was made
in, so the server's loop can't be borrowed from a worker's thread.

Note [Rung before the end]: a command commits, rings and ends. Python then takes the loop's helpers away, so the bell
was lost with a warning on the terminal; and where the loop's thread was just in C++ (msgpack), the process aborted, and
what was done and said to be done ended with SIGABRT. So `manage.py` waits for what is on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from typing import Any

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

GROUP = "feed"
# Nobody waits for a bell. While a process is held up (a full collection takes 0.24 s, on a busy machine 0.7),
# a broker that has long answered looks as if it were silent; with 0.3 s such bells were given up and called lost.
TIMEOUT_SECONDS = 2.0
_LOG_EVERY_SECONDS = 10.0


class Notifier:
    """Sends bells to the channel layer; `ring` returns at once, coalesces, and never raises."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pending: dict[int, int] = {}
        self._lock = threading.Lock()
        self._sending = False
        self._silent_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="feed-notifier", daemon=True)
        self._thread.start()

    def ring(self, tenant_id: int, number: int) -> None:
        """Tell every server process that the tenant's feed has reached `number`."""
        with self._lock:
            self._pending[tenant_id] = max(number, self._pending.get(tenant_id, 0))
            if self._sending:
                return
            self._sending = True
        self._loop.call_soon_threadsafe(self._start)

    def finish(self) -> None:
        """Wait until what was rung for is sent, but no longer than a silent broker is waited for; then stop."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._rest(), self._loop).result(TIMEOUT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_SECONDS)

    async def _rest(self) -> None:
        if self._task is not None:
            await self._task

    def _start(self) -> None:
        self._task = self._loop.create_task(self._send_all())

    def _take(self) -> dict[int, int]:
        with self._lock:
            taken, self._pending = self._pending, {}
            self._sending = bool(taken)
        return taken

    async def _send_all(self) -> None:
        while taken := self._take():
            for tenant_id, number in taken.items():
                await self._send({"type": "feed.bell", "tenant": tenant_id, "number": number})

    async def _send(self, message: dict[str, Any]) -> None:
        layer = get_channel_layer()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await layer.group_send(GROUP, message)
        except Exception as error:  # noqa: BLE001 - whatever the broker throws, the feed's readers look for themselves
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _LOG_EVERY_SECONDS
            logger.warning("the live feed's bell was not rung (%s); pages follow by polling", type(error).__name__)


class _Current:
    """The notifier of this process, made on first use; a fork gets one of its own."""

    def __init__(self) -> None:
        self._notifier: Notifier | None = None
        self._lock = threading.Lock()

    def get(self) -> Notifier:
        with self._lock:
            if self._notifier is None:
                self._notifier = Notifier()
            return self._notifier

    def finish(self) -> None:
        """Have the notifier finish, where one was ever needed; the next bell gets a new one."""
        with self._lock:
            notifier, self._notifier = self._notifier, None
        if notifier is not None:
            notifier.finish()

    def forget(self) -> None:
        """Called in a fork: the parent's loop thread is not here, and its lock may be held."""
        self._notifier = None
        self._lock = threading.Lock()


_current = _Current()
os.register_at_fork(after_in_child=_current.forget)


def ring(tenant_id: int, number: int) -> None:
    """Ring from wherever this is called; never raises, never waits."""
    _current.get().ring(tenant_id, number)


def finish() -> None:
    """At the end of a process: wait for bells that are on their way (see Note [Rung before the end])."""
    _current.finish()
