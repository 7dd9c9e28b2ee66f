"""Asks the model for its next answer and stores it with its calls, their verdicts and their gates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agents import integrity, journal, turn
from agents.errors import ModelError, ModelInterrupted
from agents.models import ModelReply, Run, ToolCall
from agents.providers import provider_for
from agents.providers.protocol import Completion, ModelRequest
from agents.runs import ending, proposals
from agents.runs.case import Case, open_case
from agents.runs.facts import facts_of, is_undecided, standing_of
from agents.runs.lease import Held, Known, is_halted, lock, set_held
from agents.runs.transcript import messages_of
from agents.states import RunState
from agents.types import MAX_CALLS_PER_STEP, RuntimeDefaults
from routekit_site.tenancy import faults
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.spans import span
from routekit_site.tenancy.statements import insert, together
from traces import recorder
from traces.gathering import gathered
from traces.kinds import EventKind
from traces.redactors import redact

_MILLION = 1_000_000
_MAX_REASON = 40


@dataclass(frozen=True)
class _Asked:
    """One question to the model: when (by the database's clock and by this process's), and what of it is recorded."""

    at: datetime
    begun: float
    facts: dict[str, Any]


def ask(held: Held, run: Run, now: datetime, *, stop: Callable[[], bool]) -> bool:
    """One model call, outside any transaction, and what comes of it. False when the run was let go.

    Raises:
        LeaseLost: somebody else holds the run now.
        UnknownProvider: the agent names a provider that there is not.
    """
    case = open_case(run, now)
    offers = case.offers()
    asked = _Asked(
        case.now,
        time.monotonic(),
        {
            "step": run.steps + 1,
            "attempt": run.model_failures + 1,
            "provider": run.agent.provider,
            "model": run.agent.model,
            "tools": [offer.name for offer in offers],
        },
    )
    request = ModelRequest(
        model=run.agent.model,
        instructions=run.agent.instructions,
        messages=messages_of(run, held.answers, _latest(held)),
        tools=offers,
        timeout=case.runtime.timeout,
    )
    try:
        faults.point("model.asked")
        with span("model.call", run=str(run.id), provider=run.agent.provider, step=run.steps + 1):
            completion = provider_for(run.agent.provider).complete(request, stop=stop)
    except ModelInterrupted:
        return True
    except ModelError as error:
        return _failed(held, case.runtime, asked, error)
    return _store(held, run, case, asked, completion)


def _failed(held: Held, runtime: RuntimeDefaults, asked: _Asked, error: ModelError) -> bool:
    """Record a failed model call; put the run back for another try, or end it."""
    with journal.transaction():
        run, now = lock(held)
        if run.cancel_requested_at is not None:
            return True
        failures = run.model_failures + 1
        again = error.retryable and failures <= runtime.max_retries
        wait = runtime.delay(run.model_failures, error.retry_after)
        journal.note(run.id, EventKind.MODEL_REQUEST, asked.facts, now=asked.at)
        payload = {
            **asked.facts,
            "kind": error.kind,
            "message": str(error),
            "retry_in": round(wait, 3) if again else None,
        }
        journal.note(run.id, EventKind.MODEL_ERROR, payload, now=now)
        if again:
            set_held(run, model_failures=failures)
            ending.let_rest(run, now, until=now + timedelta(seconds=wait), why=error.kind)
        else:
            tries = f" It was tried {failures} times." if failures > 1 else ""
            ending.close(run, turn.Finish(RunState.FAILED, error.kind, f"{error}{tries}"), now)
    return False


def _store(held: Held, run: Run, case: Case, asked: _Asked, completion: Completion) -> bool:
    """Store a complete answer: the reply, its calls, their verdicts and gates, in one transaction."""
    # The database's clock is not asked for the length of a call; the run's own clock goes by what `lock` finds.
    answered = asked.at + timedelta(seconds=time.monotonic() - asked.begun)
    calls = completion.calls[:MAX_CALLS_PER_STEP]
    with gathered():
        judged = proposals.judge_all(case, calls)
    with journal.transaction():
        locked, now = lock(held)
        if locked.cancel_requested_at is not None or is_halted(locked):
            # What a model said while it was called off, or was halted, is not taken.
            return True
        faults.after_commit("answer.after_commit")
        step = locked.steps + 1
        counted = _counted(locked, step, completion)
        journal.note(run.id, EventKind.MODEL_REQUEST, asked.facts, now=asked.at)
        event = journal.note(run.id, EventKind.MODEL_RESPONSE, _told(step, completion), now=answered)
        with together():
            rows = proposals.store_all(case, step, judged, now)
            reply = _reply(locked, step, asked, completion, min(answered, now))
            reply.mac = integrity.reply_mac(reply, completion.text, rows)
            insert([reply])
        event = proposals.note_verdicts(rows, judged, now) or event
        recorder.note_summary(
            run_id=run.id,
            state=RunState.RUNNING,
            input_tokens=counted["input_tokens"],
            output_tokens=counted["output_tokens"],
            cost_microdollars=counted["cost_microdollars"],
        )
        faults.point("answer.before_commit")
        if proposals.is_stubborn(locked, judged):
            ending.close(locked, _STUBBORN, now, **counted)
            return False
        known = Known(locked, now, turn.ReplyFacts(completion.finish_reason, completion.text), rows)
        if not _go_on(known, counted, event):
            return False
    held.go_on_from(known)
    return True


def _go_on(known: Known, counted: dict[str, Any], event: int) -> bool:
    """The next step in the same transaction, where it needs nothing more than that: the end, or a wait for people.

    The run's row is written once, with what the answer has used.
    """
    run, now, rows = known.run, known.now, known.calls or ()
    match turn.next_step(facts_of(run, now, counted), known.reply, tuple(standing_of(row, now) for row in rows)):
        case turn.Finish() as finish:
            ending.close(run, finish, now, **counted)
            return False
        case turn.Suspend():
            ending.wait(run, [row for row in rows if is_undecided(row, now)], now, **counted)
            return False
    set_held(run, **counted)
    journal.announce(run, state=RunState.RUNNING, event=event, now=now)
    return True


_STUBBORN = turn.Finish(
    RunState.FAILED,
    "repeated_call",
    "The run was stopped: the agent kept proposing a call that a reviewer had rejected.",
)


def _reply(run: Run, step: int, asked: _Asked, completion: Completion, answered: datetime) -> ModelReply:
    return ModelReply(
        run=run,
        step=step,
        text_sealed=seal(completion.text),
        text_redacted=str(redact(run.tenant_id, completion.text)),
        finish_reason=str(redact(run.tenant_id, completion.finish_reason))[:_MAX_REASON],
        input_tokens=completion.input_tokens,
        output_tokens=completion.output_tokens,
        started_at=asked.at,
        finished_at=answered,
    )


def _counted(run: Run, step: int, completion: Completion) -> dict[str, int]:
    """The columns of the run with what this answer has used."""
    agent = run.agent
    cost = (completion.input_tokens * agent.input_price + completion.output_tokens * agent.output_price) // _MILLION
    return {
        "steps": step,
        "model_failures": 0,
        "crashes": 0,
        "input_tokens": run.input_tokens + completion.input_tokens,
        "output_tokens": run.output_tokens + completion.output_tokens,
        "cost_microdollars": run.cost_microdollars + cost,
    }


def _latest(held: Held) -> tuple[str, Sequence[ToolCall]] | None:
    """The last reply's text and calls, where this step goes by them."""
    known = held.known
    if known is None or known.reply is None or known.calls is None:
        return None
    return known.reply.text, known.calls


def _told(step: int, completion: Completion) -> dict[str, Any]:
    return {
        "step": step,
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "calls": [{"id": c.call_id, "tool": c.tool, "arguments": c.arguments} for c in completion.calls],
        "left_out": max(0, len(completion.calls) - MAX_CALLS_PER_STEP),
        "input_tokens": completion.input_tokens,
        "output_tokens": completion.output_tokens,
    }
