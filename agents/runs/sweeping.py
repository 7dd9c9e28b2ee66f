"""Finds what no bell announces. Safe to run twice at once: whatever it does is a compare-and-set or a bell."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from agents import queue
from agents.models import Run, ToolCall
from agents.runs.reopening import reopen_outdated
from agents.states import RunState
from approvals import gates
from approvals.models import ApprovalGate
from routekit_site.tenancy import faults
from routekit_site.tenancy.clock import database_now

BATCH = 500
GRACE = timedelta(seconds=1)
RING_AGAIN_AFTER = timedelta(seconds=15)
LATELY = timedelta(minutes=20)
MOST_ANSWERED = 5000


def sweep() -> int:
    """Close gates whose clocks ran out, call second groups, ring for every run that is ready; answers how many bells.

    Bells: queued runs whose own was lost, runs whose gates are decided and released, runs whose worker is gone, and
    runs whose pause is over. A run is rung for once, and again only after 15 seconds, so that a long queue does not
    fill the broker.
    """
    rung = _ring()
    # Last, and it rings by itself: trouble with one gate must not keep other runs waiting.
    _close_gates()
    if _look_at_redaction.due():
        reopen_outdated()
    return rung


def _close_gates() -> None:
    for close in (gates.expire, gates.lapse, gates.escalate):
        closed = BATCH
        while closed == BATCH:
            with transaction.atomic(durable=True):
                closed = close(database_now(), limit=BATCH)


def _ring() -> int:
    now = database_now()
    rung = 0
    for run_id in _silent(now):
        with transaction.atomic(durable=True):
            silent = Run.objects.ready(now).unrung(now, RING_AGAIN_AFTER).filter(id=run_id)
            if silent.update(rung_at=now):
                faults.point("sweep.ringing")
                rung += 1
                queue.wake(run_id)
    return rung


def _silent(now: datetime) -> list[UUID]:
    """Runs that are ready and for which no bell is on its way, oldest first, up to a batch.

    Of the runs that wait for people, perhaps a hundred thousand, only those are looked at whose gates were answered
    lately; all of them when this process begins to sweep and then once a minute.
    """
    unrung = Run.objects.unrung(now, RING_AGAIN_AFTER).exclude(created_at__gt=now - GRACE).order_by("created_at")
    found = list(unrung.startable(now).values_list("id", flat=True)[:BATCH])
    if _full_sweep.due():
        return found + list(unrung.answered(now).values_list("id", flat=True)[:BATCH])
    lately = _answered_lately(now)
    still = set(ToolCall.objects.undecided(now).filter(run__in=lately).values_list("run_id", flat=True))
    waiting = unrung.filter(id__in=lately - still, state=RunState.WAITING)
    return found + list(waiting.values_list("id", flat=True)[:BATCH])


def _answered_lately(now: datetime) -> set[UUID]:
    """Runs with a gate that is approved and past its hold, or was closed a short while ago."""
    approved = ApprovalGate.objects.released(now).values_list("run_id", flat=True)[:MOST_ANSWERED]
    closed = ApprovalGate.objects.closed_since(now - LATELY).values_list("run_id", flat=True)[:MOST_ANSWERED]
    return {*approved, *closed}


class _Every:
    """Says that something is due: at once, and then again after each `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def due(self) -> bool:
        moment = time.monotonic()
        if moment < self._next:
            return False
        self._next = moment + self._seconds
        return True


_full_sweep = _Every(60.0)
_look_at_redaction = _Every(20.0)
