"""Threads that have to live as long as the process: watched, started again when they end, and open to `/readyz`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)

# Long enough that a thread which dies at once doesn't keep a core busy, short enough that nobody waits for it.
RESTART_AFTER = 0.5


@dataclass(frozen=True)
class Standing:
    """How a supervised thread is: working now, and how often it had to be started again."""

    name: str
    working: bool
    restarts: int


class Supervised:
    """One piece of work that must not end before `stop` is called.

    `work` runs in a daemon thread; when it returns or raises, it is logged (by the kind of error only, since an
    error's text may hold what a run was given) and started again after `RESTART_AFTER` seconds.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._working = False
        self._restarts = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_working, name=name, daemon=True)

    def start(self) -> None:
        """Begin; from now on `standings` tells of it."""
        _supervised.append(self)
        self._thread.start()

    def stop(self) -> None:
        """Don't start the work again; ending it is up to the caller."""
        self._stopping.set()

    def join(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the end; whether it came."""
        self._thread.join(timeout)
        ended = not self._thread.is_alive()
        if ended and self in _supervised:
            _supervised.remove(self)
        return ended

    def standing(self) -> Standing:
        """How it is now."""
        return Standing(self._name, self._working, self._restarts)

    def _keep_working(self) -> None:
        while not self._stopping.is_set():
            self._working = True
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - whatever it was, the work has to go on
                logger.critical("%s died of %s and is started again", self._name, type(error).__name__)
            else:
                if not self._stopping.is_set():
                    logger.critical("%s ended and is started again", self._name)
            self._working = False
            if not self._stopping.wait(RESTART_AFTER):
                self._restarts += 1


_supervised: list[Supervised] = []


def standings() -> list[Standing]:
    """How the supervised threads of this process are; empty where there are none."""
    return [supervised.standing() for supervised in list(_supervised)]
