"""The heartbeat: one thread a process renews the leases of all runs that the process holds, on its own connection.

It also brings the news to those who work: a run that was cancelled, or that another worker holds. Nobody else needs to
ask the database while a model call or a tool is running.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from uuid import UUID

from django.db import connection

from agents.models import Run
from agents.runs.lease import Held, lease_time
from approvals import containment
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.halts import halted

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.5
IDLE_FOR = 30.0

# One byte that a worker's parent process and its forked children share: the signal reaches the parent only.
_leaving = mmap.mmap(-1, 1)


def leave() -> None:
    """This worker is to stop: its runs are let go at the next safe point, so that nobody waits for their leases."""
    _leaving[0] = 1


def stay() -> None:
    """Take `leave` back (a worker that is started again in the same process)."""
    _leaving[0] = 0


def leaving() -> bool:
    """Whether this worker is to stop."""
    return _leaving[0] == 1


class _Pulse:
    """The runs that this process holds, and the thread that beats for them while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[Held] = set()
        self._thread: threading.Thread | None = None

    def add(self, held: Held) -> None:
        with self._changed:
            self._held.add(held)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, held: Held) -> None:
        with self._changed:
            self._held.discard(held)

    def _beat(self) -> None:
        try:
            while self._wait():
                self._look()
        finally:
            connection.close()

    def _wait(self) -> bool:
        """Wait for the next beat; False when nothing was held for a while and the thread should end."""
        with self._changed:
            if not self._held:
                connection.close()
                self._changed.wait(IDLE_FOR)
                if not self._held:
                    self._thread = None
                    return False
        time.sleep(LOOK_EVERY)
        return True

    def _look(self) -> None:
        with self._changed:
            mine = {held.run_id: held for held in self._held}
        if not mine:
            return
        try:
            look_after(mine)
        except Exception as error:  # noqa: BLE001 - whatever it was, the runs in hand need the next beat
            logger.warning("a heartbeat failed (%s); the next one is due soon", type(error).__name__)
            connection.close()


def look_after(mine: dict[UUID, Held]) -> None:
    """Renew the leases that have run for a third of their time; pass on what happened to these runs or their agents."""
    asked = time.monotonic()
    now = database_now()
    isolate(mine.values())
    found = Run.objects.filter(id__in=list(mine)).annotate(halted=halted("agent_id"))
    rows = found.values_list("id", "fence", "lease_until", "cancel_requested_at", "halted")
    for run_id, fence, lease_until, cancelled_at, stopped in rows:
        held = mine[run_id]
        if fence != held.fence or lease_until is None:
            held.lost.set()
            continue
        if cancelled_at is not None:
            held.cancelled.set()
        if stopped:
            held.halted.set()
        if lease_until - now < lease_time() * 2 / 3:
            Run.objects.held(run_id, fence).update(lease_until=now + lease_time())
        held.heard = asked


def isolate(held: Iterable[Held]) -> None:
    """Tell the runs which tools were contained for them, so that what runs of those is stopped."""
    known = list(held)
    contained = containment.contained_in(each.tenant_id for each in known)
    for each in known:
        mine = {"", str(each.agent_id)}
        each.contained = frozenset(t for tenant, t, agent in contained if tenant == each.tenant_id and agent in mine)


@lru_cache(maxsize=1)
def _pulse(process: int) -> _Pulse:  # noqa: ARG001 - a forked child has none of its parent's threads
    return _Pulse()


@contextmanager
def keeping(held: Held) -> Iterator[None]:
    """Keep the lease of a run alive as long as the block takes."""
    pulse = _pulse(os.getpid())
    try:
        # Inside: where no thread can be started, nobody may keep the lease of a run that is not worked on.
        pulse.add(held)
        yield
    finally:
        pulse.remove(held)
