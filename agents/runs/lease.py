"""Who works on a run: claims with a lease and a fencing token, and the writes that only the holder may make.

Note [Fencing]: every claim raises the run's `fence`. A worker writes only through `lock` and `move`, which find the row
only while it is RUNNING under the fence that the worker was given. A worker that slept past its lease and wakes up
finds nothing to write to and starts nothing: the last look before a tool is run is `lock` too, in the transaction
that stores the intent.

Note [Handed on]: what a holder has just read under the row's lock, or written itself, the next step goes on from
instead of reading it again. That is the run, and a reply with its calls while no gate of theirs is open: of all that
only the holder changes anything, but for a request to cancel and the kill switch, and both are looked at again, under
the lock, before anything takes effect.

Note [Silence]: a heartbeat that waits for a database which neither answers nor breaks the connection brings no news and
no error. So nobody waits for it: whoever works asks this process's own clock how long ago the database was heard, and
after the length of a lease the run counts as lost. By then it may be somebody else's, and nobody can tell whether the
kill switch was thrown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Event
from typing import Any
from uuid import UUID

from django.conf import settings

from agents import integrity, journal
from agents.errors import AgentHalted, LeaseLost
from agents.models import Run, RunQuerySet, ToolCall
from agents.states import CALL_SETTLED, RUN_TRANSITIONS, CallState, RunState
from agents.turn import ReplyFacts, Told
from routekit_site.tenancy.clock import clock_slot
from routekit_site.tenancy.halts import halted
from routekit_site.tenancy.statements import Query, slot, update
from traces import recorder
from traces.kinds import EventKind
from traces.redactors import note_version, version_column

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """A run with its latest reply and that reply's calls, at one moment. `calls` is None where they were not read."""

    run: Run
    now: datetime
    reply: ReplyFacts | None = None
    calls: Sequence[ToolCall] | None = None


@dataclass(eq=False)
class Held:
    """A run while one worker holds it. `stop` turns true when a call in progress should be given up."""

    run_id: UUID
    fence: int
    worker: str
    cancelled: Event = field(default_factory=Event)
    lost: Event = field(default_factory=Event)
    halted: Event = field(default_factory=Event)
    tenant_id: int = 0
    agent_id: int = 0
    contained: frozenset[str] = frozenset()
    # What the model answered so far, kept by `transcript` for as long as this worker holds the run.
    answers: list[tuple[str, tuple[Told, ...]]] = field(default_factory=list)
    # What the present step goes by, and what the next one may go on from (see Note [Handed on]).
    known: Known | None = None
    next: Known | None = None
    # The run as this worker locked it last, with what it has changed in it since.
    locked: Run | None = None
    # When the database was asked to which it last gave an answer, by `time.monotonic` (see Note [Silence]).
    heard: float = field(default_factory=time.monotonic)

    def go_on_from(self, known: Known) -> None:
        """Hand on what has just been committed, unless a call waits for somebody: that may be decided any moment."""
        settled = known.calls is not None and all(CallState(call.state) in _UNHELD for call in known.calls)
        self.next = known if settled else None

    def go_on(self, run: Run, now: datetime) -> None:
        """As `go_on_from`, after a step that changed nothing but this run and the calls that the step went by."""
        if self.known is not None:
            self.go_on_from(replace(self.known, run=run, now=now))

    def taken_over(self) -> Known | None:
        """What the last step has handed on; once."""
        known, self.next = self.next, None
        return known

    def stop(self) -> bool:
        """Whether the run was cancelled, the kill switch was thrown, or another worker holds the run or may hold it."""
        self._listen()
        return self.cancelled.is_set() or self.lost.is_set() or self.halted.is_set()

    def _listen(self) -> None:
        """Count the run as lost when the database was not heard for the length of a lease, see Note [Silence]."""
        if time.monotonic() - self.heard > lease_time().total_seconds() and not self.lost.is_set():
            logger.error("run %s is stopped: the database has not answered for the length of a lease", self.run_id)
            self.lost.set()

    def isolates(self, tool: str) -> Callable[[], bool]:
        """A question to ask while a call of `tool` runs: whether the tool was contained meanwhile."""
        return lambda: tool in self.contained


def lease_time() -> timedelta:
    """How long a worker may be silent before its runs are taken over."""
    return timedelta(seconds=settings.ROUTEKIT_LEASE_SECONDS)


# States of calls that no gate holds: nobody but the holder of the run changes them.
_UNHELD = CALL_SETTLED | {CallState.PERMITTED}


def claim(run_id: UUID, worker: str) -> Held | None:
    """Take a run that is ready, by compare-and-set; None when it is not, or somebody else was faster.

    The row is locked while it is looked at, so that what is signed anew is what it holds. A run taken over from a dead
    worker counts a crash. Needs an open transaction.
    """
    asked = time.monotonic()
    run = _READY.first(run=run_id)
    if run is None:
        return None
    now: datetime = vars(run)["clock"]
    fence, old = run.fence + 1, RunState(run.state)
    changes: dict[str, Any] = {
        "state": RunState.RUNNING,
        "fence": fence,
        "leased_by": worker,
        "lease_until": now + lease_time(),
        "wake_at": None,
        "rung_at": None,
        "clock_started_at": now,
        "waiting_since": None,
        "started_at": run.started_at or now,
        "waited_milliseconds": run.waited_milliseconds + _milliseconds(run.waiting_since, now),
    }
    if old is RunState.RUNNING:
        changes["crashes"] = run.crashes + 1
        changes["worked_milliseconds"] = run.worked_milliseconds + _milliseconds(run.clock_started_at, run.lease_until)
    changes["mac"] = integrity.run_mac(run, changes)
    kind = EventKind.RUN_STARTED if run.started_at is None else EventKind.RUN_RESUMED
    if update(Run, {"id": run_id, "state": old, "fence": run.fence}, changes) != 1:
        return None
    _become(run, changes)
    event = journal.note(run_id, kind, {"after": old.value, "worker": worker, "fence": fence}, now=now)
    recorder.note_summary(run_id=run_id, state=RunState.RUNNING)
    journal.announce(run, state=RunState.RUNNING, event=event, now=now)
    return Held(
        run_id, fence, worker, tenant_id=run.tenant_id, agent_id=run.agent_id, next=Known(run, now), heard=asked
    )


def lock(held: Held) -> tuple[Run, datetime]:
    """The run, its row locked to the end of the transaction while `held` still holds it, and the database's time.

    Raises:
        LeaseLost: another worker claimed it, or it is over (see Note [Fencing]).
    """
    run, now = _found(held, _LOCKED)
    held.locked = run
    return run, now


def look(held: Held) -> tuple[Run, datetime]:
    """As `lock`, without locking: only the holder changes the run, but for a request to cancel it."""
    return _found(held, _HELD)


def _whole(runs: RunQuerySet) -> RunQuerySet:
    """Runs with what a worker needs of their surroundings and the database's time."""
    return runs.select_related("agent", "submitter", "tenant__ceiling").annotate(
        clock=clock_slot(), halted=halted("agent_id"), redaction=version_column("tenant_id")
    )


def _held() -> RunQuerySet:
    return _whole(Run.objects.held(slot("run"), slot("fence")))


_HELD: Query[Run] = Query(_held)
_LOCKED: Query[Run] = Query(lambda: _held().select_for_update(of=("self",)))
_READY: Query[Run] = Query(
    lambda: _whole(Run.objects.ready(clock_slot()).filter(id=slot("run"))).select_for_update(of=("self",))
)


def _found(held: Held, runs: Query[Run]) -> tuple[Run, datetime]:
    run = runs.first(run=held.run_id, fence=held.fence)
    if run is None:
        held.lost.set()
        raise LeaseLost
    note_version(run.tenant_id, vars(run)["redaction"])
    clock: datetime = vars(run)["clock"]
    return run, clock


def is_halted(run: Run) -> bool:
    """Whether the kill switch stood for a run when `lock` or `look` found it."""
    return bool(vars(run)["halted"])


def check_halt(held: Held, run: Run) -> None:
    """Start nothing for a run that `lock` or `look` has just found, while the kill switch stands for it.

    A run that somebody has called off is let through: it only comes to its end.

    Raises:
        AgentHalted: nothing may start; the run is to be let go.
    """
    if is_halted(run) and run.cancel_requested_at is None:
        held.halted.set()
        raise AgentHalted
    held.halted.clear()


def move(run: Run, state: RunState, **changes: Any) -> None:
    """Put a run into another state by compare-and-set on its state and fence, and the instance with it.

    Raises:
        LeaseLost: the row is not as the instance says.
        ValueError: the transition table has no such move.
    """
    if (RunState(run.state), state) not in RUN_TRANSITIONS:
        raise ValueError(f"a run can't go from {run.state} to {state}")
    set_held(run, state=state, **changes)


def set_held(run: Run, **changes: Any) -> None:
    """Change columns of a run that still is as the instance says.

    Raises:
        LeaseLost: it is not.
    """
    changes["mac"] = integrity.run_mac(run, changes)
    if update(Run, {"id": run.id, "state": run.state, "fence": run.fence}, changes) != 1:
        raise LeaseLost
    _become(run, changes)


def _become(run: Run, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(run, name, value)


def change(call: ToolCall, state: CallState, **columns: Any) -> None:
    """Move a call by compare-and-set, and the instance with it.

    Raises:
        LeaseLost: the row is not as the instance says.
    """
    named = {"gate_id": columns["gate"].pk} if "gate" in columns else {}
    columns["mac"] = integrity.call_mac(call, {"state": state, **columns, **named})
    if update(ToolCall, {"id": call.id, "state": call.state}, {"state": state, **columns}) != 1:
        raise LeaseLost
    call.state = state
    for name, value in columns.items():
        setattr(call, name, value)


def let_go(run: Run, now: datetime) -> dict[str, Any]:
    """The columns of a run that nobody works on any more: no lease, and its own clock stopped."""
    return {
        "leased_by": None,
        "lease_until": None,
        "clock_started_at": None,
        "worked_milliseconds": run.worked_milliseconds + _milliseconds(run.clock_started_at, now),
    }


def worked(run: Run, now: datetime) -> int:
    """Milliseconds that the run has worked, the present stretch included; waiting does not count."""
    return run.worked_milliseconds + _milliseconds(run.clock_started_at, now)


def _milliseconds(start: datetime | None, end: datetime | None) -> int:
    if start is None or end is None:
        return 0
    return max(0, int((end - start).total_seconds() * 1000))
