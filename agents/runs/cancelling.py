"""A run is called off, wherever it stands."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from agents import journal, turn
from agents.errors import RunFinished
from agents.models import Run
from agents.runs.access import Person, check_cancel
from agents.runs.ending import close, is_finished
from agents.runs.lease import set_held
from agents.states import RunState
from approvals import gates
from routekit_site.tenancy.errors import NotVisible
from traces.kinds import EventKind


def cancel(run_id: UUID, user: Person, *, now: datetime) -> Run:
    """Call a run off: its gates are withdrawn at once and nothing of it starts any more.

    A run that nobody works on is CANCELLED when this returns. A running one is cancelled by its worker, which is told
    within a second and kills a tool in progress; when the worker is gone, by whoever takes the run over. Asking twice
    is the same as asking once. Needs an open transaction.

    Raises:
        NotVisible, NotAllowed: see `check_cancel`.
        RunFinished: there is nothing left to cancel.
    """
    run = Run.objects.select_for_update(of=("self",)).select_related("agent", "submitter").filter(id=run_id).first()
    if run is None:
        raise NotVisible
    check_cancel(user, run)
    if is_finished(run):
        raise RunFinished
    if run.cancel_requested_at is not None:
        return run
    set_held(run, cancel_requested_at=now, cancel_requested_by=user)
    gates.lock_open(run.id)
    name = user.get_username()
    event = journal.note(run.id, EventKind.RUN_CANCEL_REQUESTED, {"state": run.state}, now=now, actor=name)
    why = f"The run was cancelled by {name}."
    if run.state == RunState.RUNNING:
        gates.withdraw(run.id, now=now, why=why)
        journal.announce(run, state=run.state, event=event, now=now)
    else:
        close(run, turn.Finish(RunState.CANCELLED, "cancelled", why), now)
    return run
