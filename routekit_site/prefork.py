"""Celery's pool of processes, as the site's workers use it (`CELERY_WORKER_POOL`): it survives that one of them dies.

Note [Not yet waitable]: the kernel closes the files of a process that ends before its parent can wait for it. Celery
5.6 learns of the end from a file that is closed, takes the process off its list of watched ones, and where it can't be
waited for yet leaves it in the pool for up to five seconds. Its place is empty as long. Should the connection to the
broker break meanwhile, Celery watches "all" processes anew, trips over the one without a file and ends the whole
worker, and with it the calls in hand (in the manner of celery issue 9250).

Note [Half a message]: Celery reads what a process says piece by piece. When the process dies it reads on at once, from
wherever it was, as if a message began there, and waits for as many bytes as that nonsense asks for: the worker ends
with an UnpicklingError, or hangs, which nobody starts again. What a dead process still had to say is not needed here:
its run's row tells, no result is kept, and a bell that is rung twice is heard once.

Note [Last words]: a process that is told to end first waits, for up to 30 s, until its parent has read that each of its
tasks is done. But when a connection to the broker breaks, Celery forgets the tasks that were handed to a process which
has not said that it began; the process does them all the same, and a parent that knows of no task in hand no longer
reads, it only waits for its processes. A worker that was told to stop at such a moment took half a minute, and a
supervisor kills it sooner. Nobody needs those words, as above: a process ends when its task has.

Note [Killed before the start]: a worker has its processes before it has its broker. When it has it, Celery ends the
worker if one of the processes is gone: that is for a process that can't start, and one that was killed can be replaced,
as it would be a moment later. When the broker goes again before that, Celery replaces what is gone before its pool has
what it takes to do so, and ends the worker over it.
"""

from __future__ import annotations

import signal
from typing import Any

from celery.concurrency import asynpool, prefork

LOOK_AGAIN = 0.02


class Worker(asynpool.Worker):
    """What a process of the pool does."""

    def _ensure_messages_consumed(self, **_completed: int) -> bool:
        """Don't wait for the parent before the end, see Note [Last words]."""
        return False


class Pool(asynpool.AsynPool):
    """A pool that looks again for what could not be waited for yet, see Note [Not yet waitable]."""

    Worker = Worker

    def did_start_ok(self) -> bool:
        """Whether no process has ended by its own fault, see Note [Killed before the start]."""
        ok = all(proc.exitcode in {None, -signal.SIGKILL} for proc in self._pool)  # type: ignore[attr-defined] # as below
        if ok:
            self.maintain_pool()
        return ok

    def maintain_pool(self) -> None:
        """Replace nothing before the pool is ready for it, see Note [Killed before the start]."""
        if self._registered_with_event_loop:  # type: ignore[attr-defined] # as below
            super().maintain_pool()

    def _event_process_exit(self, hub: Any, proc: Any) -> None:
        super()._event_process_exit(hub, proc)  # type: ignore[misc] # not in the stubs
        self._look_again(hub, proc)

    def process_flush_queues(self, proc: Any) -> None:
        """Read nothing more from a process that has ended, see Note [Half a message]."""

    def _look_again(self, hub: Any, proc: Any) -> None:
        if proc in self._pool:  # type: ignore[attr-defined] # as above
            hub.call_later(LOOK_AGAIN, self._replace, hub, proc)

    def _replace(self, hub: Any, proc: Any) -> None:
        self.maintain_pool()
        self._look_again(hub, proc)

    def _track_child_process(self, proc: Any, hub: Any) -> None:
        ended = getattr(proc, "_sentinel_poll", 0) is None
        if not ended:
            super()._track_child_process(proc, hub)  # type: ignore[misc] # as above


class TaskPool(prefork.TaskPool):
    """`--pool prefork` with that pool."""

    Pool = Pool
