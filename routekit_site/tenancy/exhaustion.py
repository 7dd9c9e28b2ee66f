"""Tells a process that has no memory left from a mistake of ours, and ends it where a pool starts another.

Note [Exhausted]: a process without memory takes up whatever its pool hands it, and fails at once; so it is handed more
than its neighbours, and after three failures a run is given up that had nothing to do with it. Besides, Celery 5.6 ends
the whole worker, with all calls in hand, when a task of one process tells its parent of a MemoryError. So a process of
a pool that meets the end of its memory ends itself, without a word; its run is counted a crash, as after SIGKILL.
"""

from __future__ import annotations

import errno
import logging
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from billiard import current_process

logger = logging.getLogger(__name__)

_DEPTH = 10
_NO_THREAD = "can't start new thread"


def is_exhausted(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that this process can't have more memory, or another thread."""
    for _ in range(_DEPTH):
        if error is None:
            return False
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
            return True
        error = error.__cause__ or error.__context__
    return False


def let_go(error: BaseException) -> None:
    """Free what the steps that failed held, so that there is room to say so."""
    traceback.clear_frames(error.__traceback__)


@contextmanager
def ending_when_exhausted() -> Iterator[None]:
    """End a pool's process that has no memory left, see Note [Exhausted]; a worker in a thread goes on."""
    try:
        yield
    except Exception as error:
        if not is_exhausted(error):
            raise
        let_go(error)
        logger.error("this process has no memory left (%s)", type(error).__name__)  # noqa: TRY400 - no room for more
        if current_process().name != "MainProcess":
            os._exit(os.EX_OSERR)
