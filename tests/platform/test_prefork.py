"""The workers' pool of processes, where Celery's own would wait for what a dead process will never say."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.connection import Connection
from kombu.asynchronous import Hub

from routekit_site.prefork import Pool


def test_half_a_message_of_a_process_that_was_killed_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    with Connection(reading, writable=False) as reader:
        try:
            # The length of a message and its beginning; the worker itself holds the other end open.
            os.write(writing, (1000).to_bytes(4, "big") + b"half")
            pool = Pool.__new__(Pool)
            pool._state, pool._result_handler = 0, SimpleNamespace(on_state_change=print)  # type: ignore[attr-defined]
            pool.process_flush_queues(SimpleNamespace(outq=SimpleNamespace(_reader=reader)))
            assert os.read(reading, 8)[4:] == b"half"
        finally:
            os.close(writing)


@pytest.fixture
def pool() -> Iterator[Any]:
    """A pool of one process, as it is before the worker has its broker."""
    made = Pool(processes=1, threads=False)
    yield made
    made.terminate()
    made.join()


def _wait_for_end(pid: int) -> None:
    """Wait, and leave it to the pool to take note."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_process_killed_before_the_broker_is_there_is_replaced_when_it_is(pool: Any) -> None:
    (first,) = pool._pool
    os.kill(first.pid, signal.SIGKILL)
    _wait_for_end(first.pid)
    # The broker came, and went before the worker's loop began.
    pool.flush()
    assert pool._pool == [first]
    pool.register_with_event_loop(Hub())
    assert pool.did_start_ok()
    (second,) = pool._pool
    assert second.pid != first.pid
    assert second.is_alive()


def test_a_process_that_can_not_start_ends_the_worker(pool: Any) -> None:
    (only,) = pool._pool
    pool._stop_task_handler(SimpleNamespace(pool=[only]))
    _wait_for_end(only.pid)
    pool.register_with_event_loop(Hub())
    assert not pool.did_start_ok()
