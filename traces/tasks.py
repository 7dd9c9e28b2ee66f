"""The tasks of this floor: forgetting, encrypting, noting ledgers' ends and failed sign-ins. Safe to run twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import shared_task
from django.db import DatabaseError, transaction

from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.reconnecting import renew_connections
from traces import encrypting, ledger, retention, sign_ins
from traces.errors import TraceError

logger = logging.getLogger(__name__)

_MAX_BATCHES = 200


def _in_batches(act: Callable[[], int], what: str) -> int:
    """One transaction a batch, until nothing is left or this run has done its share; the next run goes on."""
    done = 0
    try:
        for _ in range(_MAX_BATCHES):
            with transaction.atomic(durable=True):
                rows = act()
            if not rows:
                break
            done += rows
    except (DatabaseError, TraceError) as error:
        logger.warning("%s stopped (%s); it goes on with its next run", what, type(error).__name__)
    return done


@shared_task(name="traces.tasks.forget")
def forget(**_kwargs: Any) -> None:
    """Delete what the tenants' retention policies say, and old feed entries."""
    renew_connections()
    now = database_now()
    for policy in retention.policies():
        _in_batches(partial(retention.forget_traces, policy, now), "retention of traces")
        _in_batches(partial(retention.forget_ledger, policy, now), "retention of the ledger")
    for tenant_id in retention.tenants_with_feed():
        _in_batches(partial(retention.forget_feed, tenant_id, now), "retention of the feed")


@shared_task(name="traces.tasks.encrypt")
def encrypt(**_kwargs: Any) -> None:
    """Encrypt what tenants that ask for encryption still have in clear."""
    renew_connections()
    for tenant_id in encrypting.tenants():
        done = _in_batches(partial(encrypting.encrypt, tenant_id), "encryption of traces")
        with transaction.atomic(durable=True):
            encrypting.note(tenant_id, done, "traces.tasks.encrypt", database_now())


@shared_task(name="traces.tasks.note_heads")
def note_heads(**_kwargs: Any) -> None:
    """Write into the log, which is kept elsewhere, where each ledger ends; `verify_ledger --expect` takes the hash."""
    renew_connections()
    for head in ledger.heads():
        logger.info("ledger of tenant %s: entry %s, hash %s", head.tenant, head.number, head.hash)


@shared_task(name="traces.tasks.note_failure")
def note_failure(*, user_id: int = 0, act: str = "failed sign-in", **_kwargs: Any) -> None:
    """Note a failed sign-in or a lock-out."""
    renew_connections()
    sign_ins.note_failure(user_id, act, now=database_now())
