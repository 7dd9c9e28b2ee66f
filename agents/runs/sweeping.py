"""Finds what no bell announces. Safe to run twice at once: whatever it does is a compare-and-set or a bell.

Note [All that wait]: once a minute the sweep finds every run that waits though its gates are answered, however long ago
that was and however its bell was lost. Such a run has no open gate, or has one that is approved and past its hold; the
few that look so are then asked for calls that are undecided. Runs and open gates are compared by two passes, of which
the one over the gates reads an index only: with 100,000 runs that wait, 60 ms of PostgreSQL's processor. To ask for the
undecided calls of every run that waits took 350 ms, and more with each call and gate that is over.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField

from agents import queue
from agents.models import Run, RunQuerySet, ToolCall
from agents.runs.reopening import reopen_outdated
from agents.states import RunState
from approvals import gates
from approvals.models import ApprovalGate
from routekit_site.tenancy import faults, heartbeats
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.statements import Query, slot

BATCH = 500
GRACE = timedelta(seconds=1)
RING_AGAIN_AFTER = timedelta(seconds=15)
ALL_AFTER = timedelta(minutes=1)
# More than the time between two looks at all runs, for which each process asks every 15 seconds.
LATELY = timedelta(minutes=2)
MOST_ANSWERED = 5000


def sweep() -> int:
    """Close gates whose clocks ran out, call second groups, ring for every run that is ready; answers how many bells.

    Bells: queued runs whose own was lost, runs whose gates are decided and released, runs whose worker is gone, and
    runs whose pause is over. A run is rung for once, and again only after 15 seconds, so that a long queue does not
    fill the broker; one whose own bell was rung within the last second is left alone.
    """
    rung = _ring()
    # Last, and it rings by itself: trouble with one gate must not keep other runs waiting.
    _close_gates()
    if _look_at_redaction.due():
        reopen_outdated()
    return rung


def _close_gates() -> None:
    for close in gates.due(database_now()):
        closed = BATCH
        while closed == BATCH:
            with transaction.atomic(durable=True):
                closed = close(database_now(), limit=BATCH)


def _ring() -> int:
    now = database_now()
    silent = _silent(now)
    if not silent:
        return 0
    with transaction.atomic(durable=True):
        # Those that another sweep or a worker has in its hands are passed over.
        ready = Run.objects.ready(now).unrung(now - RING_AGAIN_AFTER).filter(id__in=silent)
        ready = ready.order_by("created_at").select_for_update(of=("self",), skip_locked=True)
        found = list(ready.values_list("id", flat=True))
        if not found:
            return 0
        Run.objects.filter(id__in=found).update(rung_at=now)
        faults.point("sweep.ringing")
        for run_id in found:
            queue.wake(run_id)
    return len(found)


def _moment(name: str) -> Any:
    return slot(name, DateTimeField())


def _unrung() -> RunQuerySet:
    """Runs for which no bell is on its way, oldest first: neither a sweep's nor, while they are new, their own."""
    unrung = Run.objects.unrung(_moment("again_before")).filter(created_at__lte=_moment("settled"))
    return unrung.order_by("created_at")


def _answered() -> RunQuerySet:
    return _unrung().answered(_moment("now"))


def _released() -> Any:
    """The runs of gates that are approved and past their hold."""
    return ApprovalGate.objects.released(_moment("settled")).values("run_id")


def _lately_answered() -> RunQuerySet:
    """Waiting runs with a gate that is approved and past its hold, or was closed, both a short while ago.

    Sought from their gates, of which there are few: a hundred thousand runs may wait. They may have other gates.
    """
    closed = ApprovalGate.objects.closed_between(_moment("lately"), _moment("settled")).values("run_id")
    return _unrung().filter(state=RunState.WAITING, id__in=_released().union(closed))


_STARTABLE = Query(lambda: _unrung().startable(_moment("now")).values_list("id")[:BATCH])
_CLOSED = Query(lambda: _answered().without_open_gates().values_list("id")[:BATCH])
_RELEASED = Query(lambda: _answered().filter(id__in=_released()).values_list("id")[:BATCH])
_LATELY_ANSWERED = Query(lambda: _lately_answered().values_list("id")[:MOST_ANSWERED])


def _silent(now: datetime) -> list[UUID]:
    """Runs that are ready and for which no bell is on its way, oldest first, up to a batch of each kind.

    Of the runs that wait for people only those are looked at whose gates were answered lately; all of them once a
    minute, by one process of all that sweep (see Note [All that wait]).
    """
    moments = {"now": now, "settled": now - GRACE, "lately": now - LATELY, "again_before": now - RING_AGAIN_AFTER}
    found: list[UUID] = [run for (run,) in _STARTABLE.rows(**moments)]
    if _full_sweep.due() and heartbeats.turn(heartbeats.FULL_SWEEP, now, ALL_AFTER):
        return found + _among_all(moments)
    waiting = [run for (run,) in _LATELY_ANSWERED.rows(**moments)]
    if not waiting:
        return found
    still = set(ToolCall.objects.undecided(now).filter(run__in=waiting).values_list("run_id", flat=True))
    return found + [run for run in waiting if run not in still][:BATCH]


def _among_all(moments: dict[str, datetime]) -> list[UUID]:
    """The first batch of each kind of all runs that are answered; while there are more, the next sweep goes on."""
    batches = [[run for (run,) in query.rows(**moments)] for query in (_CLOSED, _RELEASED)]
    if any(len(batch) == BATCH for batch in batches):
        heartbeats.leave_turn(heartbeats.FULL_SWEEP)
        _full_sweep.hurry()
    return [run for batch in batches for run in batch]


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

    def hurry(self) -> None:
        """Let it be due at once."""
        self._next = 0.0


_full_sweep = _Every(15.0)
_look_at_redaction = _Every(20.0)
