"""The tasks of this floor. All are safe to run twice at once.

They take ids by keyword and ignore what they don't know, so that an older worker survives a newer message.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from datetime import datetime
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import DatabaseError, transaction
from structlog.contextvars import bound_contextvars

from agents import execution, replay, retention, runs
from routekit_site.tenancy import heartbeats
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.outages import despite_outages
from routekit_site.tenancy.reconnecting import renew_connections
from routekit_site.tenancy.spans import span
from traces.errors import TraceError

logger = logging.getLogger(__name__)

_MAX_BATCHES = 200


def worker_name() -> str:
    """Who holds a lease: machine, process and thread."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"[:120]


@shared_task(name="agents.tasks.advance_run")
def advance_run(run_id: str, handed: int = 0, **_kwargs: Any) -> None:
    """Take a run as far as it goes without a person. A run that does not exist, or no longer, is left alone.

    `handed` is how many workers were too old for it and rang for the next one.
    """
    renew_connections()
    try:
        key = UUID(run_id)
    except (ValueError, AttributeError, TypeError):
        logger.warning("a bell rang for something that is no run; it is ignored")
        return
    with bound_contextvars(run=run_id), span("run.advance", run=run_id), despite_outages("a run"):
        runs.advance(key, worker=worker_name(), handed=handed)


@shared_task(name="agents.tasks.replay_live")
def replay_live(replay_id: str, **_kwargs: Any) -> None:
    """Do a live replay, unless somebody has begun it."""
    renew_connections()
    try:
        key = UUID(replay_id)
    except (ValueError, AttributeError, TypeError):
        logger.warning("a bell rang for something that is no replay; it is ignored")
        return
    replay.perform(key)


@shared_task(name="agents.tasks.forget_raw")
def forget_raw(**_kwargs: Any) -> None:
    """Delete the raw values whose time is over, one transaction a batch; the next run goes on where this one stops."""
    renew_connections()
    now = database_now()
    for policy in retention.raw_retentions():
        try:
            _forget_raw_of(policy, now)
        except (DatabaseError, TraceError) as error:
            logger.warning("retention of raw values stopped (%s); it goes on later", type(error).__name__)


def _forget_raw_of(policy: retention.RawRetention, now: datetime) -> None:
    for _ in range(_MAX_BATCHES):
        with transaction.atomic(durable=True):
            if not retention.forget_raw(policy, now):
                return


@shared_task(name="agents.tasks.sweep")
def sweep(**_kwargs: Any) -> None:
    """Find what no bell announces: lost bells, dead workers, clocks that ran out."""
    renew_connections()
    with despite_outages("the sweep"):
        runs.sweep()
        replay.ring_again(database_now())
        heartbeats.mark(heartbeats.SWEEP, database_now(), {"tier": execution.sandbox_tier()})
