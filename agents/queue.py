"""The doorbell. The row is the message: a bell that is lost is rung again by the sweep."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from functools import lru_cache, partial
from threading import BoundedSemaphore
from uuid import UUID

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)

TASK = "agents.tasks.advance_run"
REPLAY_TASK = "agents.tasks.replay_live"
PATIENCE = 0.3
MOST_WAITING = 200


def wake(run_id: UUID, *, after: float = 0.0) -> None:
    """Once the open transaction has committed, ask a worker to look at the run, `after` seconds from then.

    Never raises and never holds its caller for more than 300 ms, whatever state the broker is in.
    """
    transaction.on_commit(partial(_ring, run_id, lambda: _publish(str(run_id), after)), robust=True)


def hand_on(run_id: UUID, handed: int) -> None:
    """Ring at once for a run that this worker is too old for; `handed` times it has been handed on with this one.

    Never raises, like `wake`.
    """
    _ring(run_id, lambda: _publish_handed(str(run_id), handed))


def wake_replay(replay_id: UUID) -> None:
    """Once the open transaction has committed, ask a worker for a live replay; never raises, like `wake`."""
    transaction.on_commit(partial(_ring, replay_id, lambda: _publish_replay(str(replay_id))), robust=True)


@lru_cache(maxsize=1)
def _ringer(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 - a forked worker must not use its parent's thread
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="doorbell")


_room = BoundedSemaphore(MOST_WAITING)


def _ring(run_id: UUID, publish: Callable[[], None]) -> None:
    """Publish from a thread of its own: a broker that doesn't answer holds that thread, not the request."""
    if not _room.acquire(blocking=False):
        logger.warning("the broker does not answer; the sweep will ring for run %s", run_id)
        return
    try:
        bell = _ringer(os.getpid()).submit(publish)
    except RuntimeError:
        _room.release()
        logger.info("this process is ending; the sweep will ring for run %s", run_id)
        return
    bell.add_done_callback(lambda _bell: _room.release())
    try:
        bell.result(timeout=PATIENCE)
    except Late:
        logger.warning("the broker is slow; the sweep will ring for run %s if this bell is lost", run_id)
    except Exception as error:  # noqa: BLE001 - whatever the broker does, the row is stored and the sweep finds it
        logger.warning("the bell for run %s was not rung (%s); the sweep will", run_id, type(error).__name__)


def _publish(run_id: str, after: float) -> None:
    _send(TASK, after, run_id=run_id)


def _publish_handed(run_id: str, handed: int) -> None:
    _send(TASK, 0.0, run_id=run_id, handed=handed)


def _publish_replay(replay_id: str) -> None:
    _send(REPLAY_TASK, 0.0, replay_id=replay_id)


def _send(task: str, after: float, **arguments: str | int) -> None:
    current_app.send_task(task, kwargs=arguments, countdown=after or None, retry=False, ignore_result=True)
