"""The workers' pool of processes, where Celery's own would wait for what a dead process will never say."""

from __future__ import annotations

import os
from types import SimpleNamespace

from billiard.connection import Connection

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
