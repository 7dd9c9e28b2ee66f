"""Takes a run as far as it goes without a person: claim, one step after the other, and let go."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, connection
from pydantic import ValidationError

from agents import execution, integrity, journal, queue, turn
from agents.ceilings import site_runtime
from agents.errors import AgentError, AgentHalted, LeaseLost, StateChanged, UnknownProvider
from agents.models import ModelReply, Run, ToolCall
from agents.runs import asking, calling, ending, pulse, recovering
from agents.runs.facts import facts_of, is_undecided, standing_of
from agents.runs.lease import Held, Known, check_halt, claim, lock, look, set_held, worked
from agents.states import CallState, RunState
from agents.types import MAX_CRASHES
from approvals import gates
from approvals.errors import Halted
from routekit_site.tenancy import faults
from routekit_site.tenancy.clock import clock_slot
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.exhaustion import is_exhausted, let_go
from routekit_site.tenancy.statements import Query, slot
from traces.kinds import EventKind

logger = logging.getLogger(__name__)

MOST_HANDED = 3

_READY = Query(lambda: Run.objects.ready(clock_slot()).filter(id=slot("run")).values_list("id"))
_NEWER = Query(lambda: Run.objects.newer().filter(id=slot("run")).values_list("id"))
_REPLY = Query(lambda: ModelReply.objects.filter(run=slot("run"), step=slot("step")))
_CALLS = Query(lambda: ToolCall.objects.filter(run=slot("run"), step=slot("step")).select_related("gate").in_order())


def advance(run_id: UUID, *, worker: str, handed: int = 0) -> None:
    """Do all that can be done for a run now. A run that is not ready, or that somebody else holds, is left alone.

    A run that needs a newer engine is rung for again, unless it was `handed` on often enough. Opens its own short
    transactions; never inside one.
    """
    while not pulse.leaving():
        with journal.transaction():
            held = claim(run_id, worker)
            faults.point("claim.before_commit")
        faults.point("claim.after_commit")
        if held is None:
            _hand_on(run_id, handed)
            return
        _work(held)
        if held.locked is not None and ending.is_finished(held.locked):
            return
        # Asked again after each stretch: a gate may have been decided between the last look at it and the run's letting
        # go, and its bell then found nothing to do.
        if not _READY.rows(run=run_id):
            return


def _hand_on(run_id: UUID, handed: int) -> None:
    """Ring for the worker that has waited longest, which during a deploy is most likely a newer one.

    All releases take bells from one queue, in turn: one that ends here might end here each time that the sweep rings.
    """
    if handed < MOST_HANDED and _NEWER.rows(run=run_id):
        queue.hand_on(run_id, handed + 1)


def know_machine() -> None:
    """Find out what this machine can enforce, for this process and all that it forks; what fails is asked again."""
    try:
        execution.sandbox_tier()
    except AgentError as error:
        logger.warning("%s", error)


def warm_up() -> None:
    """Get this process ready to run tools; what fails here is told again, and better, by the call that needs it."""
    try:
        execution.warm()
    except (AgentError, OSError) as error:
        logger.warning("the sandbox did not start ahead of time: %s", error)


def _work(held: Held) -> None:
    try:
        with pulse.keeping(held):
            while _step(held):
                pass
    except LeaseLost:
        logger.info("run %s is somebody else's now; %s lets go", held.run_id, held.worker)
    except (AgentHalted, Halted):
        _let_go_halted(held)
    except (StateChanged, DecryptionFailed) as error:
        _stop_changed(held, error if isinstance(error, StateChanged) else StateChanged("a sealed value of the run"))
    except (OperationalError, InterfaceError, InternalError) as error:
        logger.warning("run %s: the database failed (%s); the run goes on later", held.run_id, type(error).__name__)
        _rest_after_outage(held)
    except Exception as error:
        # Whatever it is, the run must be let go and others served. The error's text may hold raw values, so neither it
        # nor a traceback is logged or stored.
        logger.error("run %s: unexpected %s in %s", held.run_id, type(error).__name__, _where(error))  # noqa: TRY400
        exhausted = is_exhausted(error)
        if exhausted:
            let_go(error)
        _crashed(held, error)
        if exhausted:
            raise


def _step(held: Held) -> bool:
    """Do the next thing; False when the run was let go."""
    if pulse.leaving():
        ending.release(held, "the worker is stopping")
        return False
    if held.lost.is_set():
        # Whoever counts a run as lost (see Note [Silence] in `lease`) stops all that it begins: it is begun anew.
        ending.release(held, "the database did not answer for the length of a lease")
        return False
    known = held.taken_over() or Known(*look(held))
    check_halt(held, known.run)
    integrity.check_run(known.run)
    if known.calls is None:
        reply, calls = _load(known.run)
        known = replace(known, reply=reply, calls=calls)
    held.known = known
    try:
        return _do(held, known)
    except ValidationError:
        ending.finish(held, _MISCONFIGURED)
        return False
    except UnknownProvider as error:
        ending.finish(held, turn.Finish(RunState.FAILED, "unknown_provider", str(error)))
        return False


_MISCONFIGURED = turn.Finish(
    RunState.FAILED,
    "agent_misconfigured",
    "The agent's tool filter or sandbox policy is not valid. An admin of the tenant should open the agent and save it.",
)


def _do(held: Held, known: Known) -> bool:
    run, now, calls = known.run, known.now, known.calls or ()

    def named(ids: Sequence[str]) -> list[ToolCall]:
        return [call for call in calls if str(call.id) in ids]

    match turn.next_step(facts_of(run, now), known.reply, tuple(standing_of(call, now) for call in calls)):
        case turn.AskModel():
            return asking.ask(held, run, now, stop=_stopper(held, run, now))
        case turn.Recover(ids):
            recovering.recover(held, run, now, named(ids))
            return True
        case turn.Start(ids):
            waiting = [call for call in calls if call.state == CallState.GATED and is_undecided(call, now)]
            return calling.start(held, run, now, named(ids), waiting, stop=held.stop)
        case turn.Settle(ids):
            return calling.settle(held, run, now, named(ids), stop=held.stop)
        case turn.Suspend():
            return not ending.suspend(held)
        case turn.Finish() as finish:
            ending.finish(held, finish)
            return False


def _stopper(held: Held, run: Run, now: datetime) -> Callable[[], bool]:
    """Whether to give up a model call: the run is cancelled or lost, its time is up, or this worker is stopping.

    A model call may be given up at any time, since nothing happened yet; a tool in progress is left to finish.
    """
    left = run.time_limit_seconds - worked(run, now) / 1000
    deadline = time.monotonic() + left
    return lambda: held.stop() or pulse.leaving() or time.monotonic() > deadline


def _load(run: Run) -> tuple[turn.ReplyFacts | None, list[ToolCall]]:
    """The run's latest reply and that reply's calls, as the application wrote them.

    Raises:
        StateChanged: they are not.
    """
    if not run.steps:
        return None, []
    reply = _REPLY.first(run=run.pk, step=run.steps)
    if reply is None:
        raise StateChanged(f"reply {run.steps} of run {run.pk}")
    calls = _CALLS.all(run=run.pk, step=run.steps)
    text = str(unseal(reply.text_sealed))
    integrity.check_reply(reply, text, calls)
    for call in calls:
        integrity.check_call(call)
    return turn.ReplyFacts(reply.finish_reason, text), calls


def _where(error: BaseException) -> str:
    """The innermost line of code that an error came from; unlike its text, it can't hold anything raw."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"


def _stop_changed(held: Held, error: StateChanged) -> None:
    """End a run whose rows were changed behind the application's back; they keep the mark of it."""
    logger.error("run %s: %s was changed behind the application's back; the run is stopped", held.run_id, error.row)
    try:
        with journal.transaction():
            run, now = lock(held)
            gates.lock_open(run.id)
            journal.note(run.id, EventKind.VIOLATION, {"error": "state_changed", "row": error.row}, now=now)
            ending.close(run, turn.Finish(RunState.FAILED, "state_changed", str(error)), now)
    except (DatabaseError, LeaseLost) as second:
        logger.warning(
            "run %s could not be stopped: %s; the sweep will bring it back", held.run_id, type(second).__name__
        )


def _let_go_halted(held: Held) -> None:
    """Put the run back as it stands: nobody claims it before the kill switch is taken back."""
    try:
        ending.release(held, "the kill switch is on for its agent")
    except (DatabaseError, LeaseLost) as error:
        logger.warning("run %s, halted, could not be let go: %s", held.run_id, type(error).__name__)


def _rest_after_outage(held: Held) -> None:
    """Put the run back, without counting a crash; where even that fails, the lease runs out and the sweep finds it."""
    connection.close()
    try:
        with journal.transaction():
            run, now = lock(held)
            wait = timedelta(seconds=site_runtime().delay(0))
            ending.let_rest(run, now, until=now + wait, why="the database failed")
    except (DatabaseError, LeaseLost) as error:
        logger.warning("run %s could not be let go: %s", held.run_id, type(error).__name__)


def _crashed(held: Held, error: Exception) -> None:
    """Count a crash. The run is tried again a little later, and given up after the third."""
    try:
        with journal.transaction():
            run, now = lock(held)
            gates.lock_open(run.id)
            set_held(run, crashes=run.crashes + 1)
            facts = {"error": type(error).__name__, "where": _where(error), "crashes": run.crashes}
            journal.note(run.id, EventKind.ERROR, facts, now=now)
            if run.crashes >= MAX_CRASHES:
                ending.close(
                    run,
                    turn.Finish(
                        RunState.FAILED,
                        "crashed",
                        f"The run was given up: something unexpected ({type(error).__name__}) happened in it "
                        f"{MAX_CRASHES} times.",
                    ),
                    now,
                )
            else:
                wait = timedelta(seconds=site_runtime().delay(run.crashes - 1))
                ending.let_rest(run, now, until=now + wait, why="unexpected error")
    except Exception as second:  # noqa: BLE001 - the lease runs out and the sweep brings the run back
        logger.error("run %s could not be let go: %s", held.run_id, type(second).__name__)  # noqa: TRY400
