"""Waits for a model's server and can stop waiting: a server that sends nothing must not hold up a kill switch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from agents.errors import ModelInterrupted

T = TypeVar("T")
Closers = list[Callable[[], None]]

LOOK_EVERY = 0.1


def wait_for(ask: Callable[[Closers], T], stop: Callable[[], bool]) -> T:
    """What `ask` returns or raises. It runs in a thread and puts what closes its connection into the list it is given.

    Raises:
        ModelInterrupted: `stop()` turned true first; the connection was closed, and what still comes is dropped.
    """
    closers: Closers = []
    answers: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            answers.append(ask(closers))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=work, name="model", daemon=True).start()
    while not done.wait(LOOK_EVERY):
        if stop():
            for close in closers:
                with contextlib.suppress(Exception):
                    close()
            raise ModelInterrupted
    if errors:
        raise errors[0]
    return answers[0]
