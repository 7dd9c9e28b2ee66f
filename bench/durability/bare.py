"""A Celery application with one task that only counts: the broker and the worker, without anything of ours."""

from __future__ import annotations

import os
from functools import lru_cache

import redis
from celery import Celery


def bare_celery(broker: str) -> Celery:
    """The application, as durable as a message in Redis is."""
    made = Celery("bench", broker=broker, set_as_current=False)
    made.conf.update(task_ignore_result=True, worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)
    made.task(name="bench.noop")(count_one)
    return made


@lru_cache(maxsize=1)
def _counter() -> redis.Redis:
    return redis.Redis.from_url(os.environ["BENCH_BROKER"])


def count_one() -> None:
    """Say that one more task was run."""
    _counter().incr("bench-done")


app = bare_celery(os.environ.get("BENCH_BROKER", "memory://"))
