"""Who listens to bells: a decided gate wakes its run, and a worker told to stop lets its runs go."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

from billiard import current_process
from celery.signals import worker_init, worker_process_init, worker_shutting_down
from django.conf import settings

from agents import providers, queue
from agents.execution import end_with_parent
from agents.runs import know_machine, leave, stay, warm_up
from approvals.models import ApprovalGate
from approvals.signals import gate_decided
from routekit_site.tenancy.clock import clock_slot
from routekit_site.tenancy.statements import Query, slot

_HOLD = Query(
    lambda: ApprovalGate.objects.filter(id=slot("gate")).annotate(clock=clock_slot()).values_list("hold_until", "clock")
)


def connect() -> None:
    """Called once, when the app is ready."""
    gate_decided.connect(on_gate_decided, dispatch_uid="agents.on_gate_decided")
    worker_process_init.connect(on_worker_ready, dispatch_uid="agents.on_worker_ready")
    worker_init.connect(on_worker_start, dispatch_uid="agents.on_worker_start")
    worker_shutting_down.connect(on_shutting_down, dispatch_uid="agents.on_shutting_down")


def on_gate_decided(*, gate_id: UUID, run_id: UUID, **_kwargs: Any) -> None:
    """Wake the run of a gate that was decided: at once, or when the hold after an approval is over."""
    held = [until - now for until, now in _HOLD.rows(gate=gate_id) if until is not None]
    queue.wake(run_id, after=max(0.0, *(left.total_seconds() for left in held)) if held else 0.0)


def on_shutting_down(**_kwargs: Any) -> None:
    """Ask the runs that this worker holds to stop at the next safe point."""
    leave()


def on_worker_start(**_kwargs: Any) -> None:
    """A worker that is started again in the same process may hold runs again.

    What asks models is loaded now, where there is a key for it: once, before a prefork parent has children. Such a
    parent finds out what the machine can enforce, too: a process that takes the place of one that died is spared more
    than half of what it does before its first call.
    """
    stay()
    if settings.ROUTEKIT_OPENAI_API_KEY is not None:
        providers.openai_provider()
    if threading.current_thread() is threading.main_thread():
        know_machine()


def on_worker_ready(**_kwargs: Any) -> None:
    """In each process that will run tools: start the sandbox before the first call needs it.

    A process that a prefork parent has forked ends with it. The warming is in a thread, because Celery gives a new
    process four seconds to say that it is up.
    """
    if current_process().name != "MainProcess":
        end_with_parent()
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
