"""Finds what no bell announces. Safe to run twice at once: whatever it does is a compare-and-set or a bell."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from agents import queue
from agents.models import Run
from approvals import gates
from routekit_site.tenancy.clock import database_now

BATCH = 500
GRACE = timedelta(seconds=1)
RING_AGAIN_AFTER = timedelta(seconds=15)


def sweep() -> int:
    """Close gates whose clocks ran out and ring for every run that is ready; answers how many bells.

    Bells: queued runs whose own was lost, runs whose gates are decided and released, runs whose worker is gone, and
    runs whose pause is over. A run is rung for once, and again only after 15 seconds, so that a long queue does not
    fill the broker.
    """
    _close_gates()
    return _ring()


def _close_gates() -> None:
    for close in (gates.expire, gates.lapse):
        closed = BATCH
        while closed == BATCH:
            with transaction.atomic(durable=True):
                closed = close(database_now(), limit=BATCH)


def _ring() -> int:
    now = database_now()
    ready = Run.objects.to_ring(now, RING_AGAIN_AFTER).exclude(created_at__gt=now - GRACE).order_by("created_at")
    ids = list(ready.values_list("id", flat=True)[:BATCH])
    rung = 0
    for run_id in ids:
        with transaction.atomic(durable=True):
            if Run.objects.to_ring(now, RING_AGAIN_AFTER).filter(id=run_id).update(rung_at=now):
                rung += 1
                queue.wake(run_id)
    return rung
