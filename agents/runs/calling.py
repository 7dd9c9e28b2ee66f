"""From a verdict or a decided gate to a call that ran: intent, sandbox, outcome.

Note [Once]: a call becomes RUNNING in the transaction that spends its approval, after a last look at the run's fence
and at a cancel request; only then is the sandbox asked. Whoever finds a RUNNING call that is not its own knows that a
worker died between the intent and the outcome (see `recovering`). A call of which the sandbox says that nothing of it
was run goes back to PERMITTED, NOT_STARTED, and has its first run later, under the same approval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agents import execution, integrity, journal, turn
from agents.errors import CallOutOfStep, LeaseLost
from agents.execution import Failed, FailureKind, Job, Outcome, Succeeded
from agents.models import Run, ToolCall
from agents.runs import containing, ending
from agents.runs.case import Case, open_case
from agents.runs.lease import Held, change, check_halt, lock, set_held
from agents.runs.planning import NOT_STARTED, Planned, asking, batch, together
from agents.runs.transcript import arguments_of
from agents.states import CallState, RunState
from agents.types import RuntimeDefaults
from approvals import containment, gates, manifests, rules
from approvals.effects import Reversibility
from approvals.errors import NotPresentable, RuleOver, UnknownTool
from approvals.types import Allow, Deny, NeedsApproval, Permit
from routekit_site.tenancy import faults
from routekit_site.tenancy.encryption import seal
from traces.kinds import EventKind
from traces.redactors import redact


@dataclass(frozen=True)
class Begun:
    """A call that is RUNNING, and the job for the sandbox."""

    planned: Planned
    job: Job


def start(
    held: Held,
    run: Run,
    now: datetime,
    calls: Sequence[ToolCall],
    waiting: Sequence[ToolCall] = (),
    *,
    stop: Callable[[], bool],
) -> bool:
    """Run permitted calls: neighbours that only read at the same time, all others one after the other.

    `waiting` are the calls of the same reply that wait for a person: policy may ask for more now than when the model
    proposed these, and then what belongs together waits together (`approvals.chains`).

    Returns False when the run was let go. Raises `LeaseLost`.
    """
    case = open_case(run, now)
    planned = [found for call in calls if (found := plan(held, case, call)) is not None]
    gates_beside = [call.gate for call in waiting if call.gate is not None]
    first = batch(together(case, planned, gates_beside))
    return not first or _run(held, case, first, stop=stop)


def settle(held: Held, run: Run, now: datetime, calls: Sequence[ToolCall], *, stop: Callable[[], bool]) -> bool:
    """Act on decided gates: tell the model of refusals, run what was approved.

    Returns False when the run was let go. Raises `LeaseLost`.
    """
    case = open_case(run, now)
    standings = [(call, gates.standing(call.gate, case.now)) for call in calls if call.gate is not None]
    refused = [(call, found) for call, found in standings if isinstance(found, gates.Refused | gates.Answered)]
    if refused:
        _tell_refused(held, refused)
        return True
    if len(standings) < len(calls) or any(isinstance(found, gates.Spent) for _, found in standings):
        raise CallOutOfStep
    ready = [call for call, found in standings if isinstance(found, gates.Ready)]
    first = batch([planned for call in ready if (planned := plan(held, case, call)) is not None])
    return not first or _run(held, case, first, stop=stop)


def plan(held: Held, case: Case, call: ToolCall) -> Planned | None:
    """What the call is bound to now. None where it can't run any more; then the call is closed.

    Raises:
        StateChanged: the stored arguments are not those of the call.
    """
    try:
        manifest = manifests.get(call.tool)
    except UnknownTool as error:
        refuse(held, call, str(error))
        return None
    arguments = arguments_of(call)
    integrity.check_arguments(call, case.run.tenant_id, arguments)
    context = case.context(manifest, arguments)
    binding = case.binding(call.id, manifest, arguments, context)
    return Planned(call, manifest, arguments, binding, case.verdict(case.call_facts(manifest, arguments)))


def _run(held: Held, case: Case, calls: Sequence[Planned], *, stop: Callable[[], bool]) -> bool:
    begun = _begin(held, case, calls)
    if not begun:
        return True
    faults.point("intent.after_commit")
    outcomes = execution.run_all([item.job for item in begun], stop)
    faults.point("tools.ran")
    results = [
        (item, containing.judged(outcome, item.job, stop)) for item, outcome in zip(begun, outcomes, strict=True)
    ]
    containing.contain(case, [(item.planned.call, item.planned.manifest, outcome) for item, outcome in results])
    return _store(held, case, results)


def _begin(held: Held, case: Case, calls: Sequence[Planned]) -> list[Begun]:
    """Spend the approvals and store the intents, in one transaction; empty where something has changed meanwhile.

    A tool that was contained since the verdict is left out: the next look at its call finds policy denying it.
    """
    begun: list[Begun] = []
    with journal.transaction():
        run, now = lock(held)
        if run.cancel_requested_at is not None or case.is_stale(run, now):
            return []
        check_halt(held, run)
        event = 0
        contained = containment.contained_tools(run.tenant_id, str(run.agent_id))
        for planned in calls:
            unheard = planned.call.tool in contained and not isinstance(planned.verdict, Deny)
            permit = None if unheard else _permit(run, case, planned, now)
            if permit is None:
                continue
            change(planned.call, CallState.RUNNING, attempts=planned.call.attempts + 1, started_at=now, outcome="")
            facts = {"tool": planned.call.tool, "attempt": planned.call.attempts}
            event = journal.note(run.id, EventKind.TOOL_STARTED, facts, now=now, call=planned.call)
            begun.append(Begun(planned, _job(held, case, planned, permit, now)))
        if event:
            journal.announce(run, state=RunState.RUNNING, event=event, now=now)
        faults.point("intent.before_commit")
    return begun


def _job(held: Held, case: Case, planned: Planned, permit: Permit, now: datetime) -> Job:
    manifest, isolated = planned.manifest, held.isolates(planned.call.tool)

    def unchanged() -> bool:
        return planned.call.gate_id is None or case.is_as_bound(planned.binding, manifest)

    return Job(permit, manifest, planned.arguments, case.sandbox_for(manifest), isolated, now, unchanged=unchanged)


def _permit(run: Run, case: Case, planned: Planned, now: datetime) -> Permit | None:
    """The right to run the call, from its gate or from policy; None where it was denied or has to wait (again)."""
    call, verdict = planned.call, planned.verdict
    if call.state == CallState.PERMITTED:
        if isinstance(verdict, Deny):
            _deny(run, call, verdict, now)
            return None
        # What a person was asked about before is not run again on policy's word alone.
        asked = isinstance(verdict, NeedsApproval) or call.gate is not None
        return _still_approved(case, planned, verdict, now) if asked else _granted(planned, now)
    if call.gate_id is None:
        raise LeaseLost
    answer = gates.redeem(call.gate_id, planned.binding, verdict, now=now)
    if isinstance(answer, Permit):
        return answer
    if isinstance(verdict, Deny):
        _deny(run, call, verdict, now)
    else:
        ask_person(case, planned, asking(case, verdict, call), now=now, difference=answer.change)
    return None


def _still_approved(case: Case, planned: Planned, verdict: Allow | NeedsApproval, now: datetime) -> Permit | None:
    """The permit of another try under the approval that the call was begun under; None where a person is asked again.

    A second run must be harmless. Where nothing has run yet, the first one is held to all that the approval was.
    """
    call, change_since = planned.call, None
    if planned.repeats_approved:
        return _granted(planned, now)
    if call.gate_id is not None and call.outcome == NOT_STARTED:
        drifted = gates.recheck(call.gate_id, planned.binding, verdict, now=now)
        if drifted is None:
            return _granted(planned, now)
        change_since = drifted.change
    ask_person(case, planned, asking(case, verdict, call), now=now, difference=change_since)
    return None


def _granted(planned: Planned, now: datetime) -> Permit | None:
    """The permit of an allowed call; None where the remembered rule that allowed it has ended since: judge again."""
    rule_id = planned.verdict.rule_id if isinstance(planned.verdict, Allow) else None
    if rule_id is not None:
        try:
            rules.use(rule_id, now=now)
        except RuleOver:
            return None
    return gates.grant(planned.binding, now=now)


def ask_person(
    case: Case, planned: Planned, verdict: NeedsApproval, *, now: datetime, difference: dict[str, Any] | None = None
) -> None:
    """Open a gate for a call (again), inside the caller's transaction. A call that can't be shown is denied."""
    call = planned.call
    try:
        request = case.gate_request(
            call.id,
            planned.manifest,
            planned.arguments,
            verdict,
            reopens=call.gate_id,
            change=difference,
        )
    except NotPresentable as error:
        _deny(case.run, call, Deny(verdict.level, "presentation", str(error)), now)
        return
    gate = gates.open_gate(request, now=now)
    state = CallState.UNKNOWN if call.state == CallState.UNKNOWN else CallState.GATED
    change(call, state, gate=gate, rule=verdict.rule[:200], level=verdict.level.value)


def tell(run: Run, call: ToolCall, state: CallState, told: str, *, outcome: str, now: datetime) -> None:
    """Close a call that did not run, with the words that the model is told."""
    change(
        call,
        state,
        outcome=outcome,
        finished_at=now,
        result_sealed=seal(told),
        result_redacted=redact(run.tenant_id, told),
        result_digest=integrity.digest_of(run.tenant_id, told),
    )


def _deny(run: Run, call: ToolCall, denial: Deny, now: datetime) -> None:
    said = {"tool": call.tool, "verdict": "deny", "level": denial.level, "rule": denial.rule, "reason": denial.reason}
    state = CallState.FAILED if call.state == CallState.UNKNOWN else CallState.DENIED
    tell(run, call, state, turn.words_for_denied(denial.reason), outcome="deny", now=now)
    journal.note(run.id, EventKind.POLICY_VERDICT, said, now=now, call=call)


def refuse(held: Held, call: ToolCall, problem: str) -> None:
    """Close a call whose tool is gone."""
    with journal.transaction():
        run, now = lock(held)
        state = CallState.DENIED if call.state in (CallState.PERMITTED, CallState.GATED) else CallState.FAILED
        tell(run, call, state, turn.words_for_invalid(problem), outcome="unknown_tool", now=now)
        event = journal.note(run.id, EventKind.NOTE, {"tool": call.tool, "problem": problem}, now=now, call=call)
        journal.announce(run, state=RunState.RUNNING, event=event, now=now)


def _tell_refused(held: Held, refused: Sequence[tuple[ToolCall, gates.Refused | gates.Answered]]) -> None:
    with journal.transaction():
        run, now = lock(held)
        event = 0
        for call, refusal in refused:
            state, told = _words(call, refusal)
            tell(run, call, state, told, outcome=refusal.kind, now=now)
            facts = {"tool": call.tool, "not_run": refusal.kind, "told": told}
            event = journal.note(run.id, EventKind.NOTE, facts, now=now, call=call, gate_id=call.gate_id)
        journal.announce(run, state=RunState.RUNNING, event=event, now=now)


def _words(call: ToolCall, refusal: gates.Refused | gates.Answered) -> tuple[CallState, str]:
    if isinstance(refusal, gates.Answered):
        return CallState.ANSWERED, turn.words_for_answered(refusal.answer)
    if call.state == CallState.UNKNOWN:
        return CallState.FAILED, turn.words_for_not_repeated(refusal.reason)
    match refusal.kind:
        case "rejected":
            return CallState.REJECTED, turn.words_for_rejected(refusal.reason)
        case "expired":
            return CallState.EXPIRED, turn.words_for_expired()
        case "lapsed":
            return CallState.EXPIRED, turn.words_for_lapsed()
        case "withdrawn":
            return CallState.WITHDRAWN, turn.words_for_withdrawn("")


def _store(held: Held, case: Case, results: Sequence[tuple[Begun, Outcome]]) -> bool:
    """Store what came of the calls. False when the run was put back to try one of them again later."""
    wait: float | None = None
    with journal.transaction():
        run, now = lock(held)
        faults.point("outcome.before_commit")
        event = 0
        cut_off = [(begun, cause) for begun, outcome in results if (cause := _cut_off(held, run, outcome))]
        results = [(begun, outcome) for begun, outcome in results if not _cut_off(held, run, outcome)]
        for begun, cause in cut_off:
            facts = {"tool": begun.planned.call.tool, "stopped_by": cause}
            event = journal.note(run.id, EventKind.NOTE, facts, now=now, call=begun.planned.call)
        for begun, outcome in results:
            if not _started(outcome):
                _give_back(begun)
            again = _again_in(begun, outcome, case.runtime)
            if again is not None and run.cancel_requested_at is None:
                wait = max(wait or 0.0, again)
                event = _try_again(run, begun, outcome, again, now)
            else:
                event = _store_outcome(run, begun, outcome, now)
        if run.crashes:
            set_held(run, crashes=0)
        for begun, _ in results:
            if begun.planned.call.state != CallState.PERMITTED:
                journal.executed(run, begun.planned.call, now=now)
        if wait is not None:
            ending.let_rest(run, now, until=now + timedelta(seconds=wait), why="tool_retry")
            return False
        journal.announce(run, state=RunState.RUNNING, event=event, now=now)
    held.go_on(run, now)
    return True


def _cut_off(held: Held, run: Run, outcome: Outcome) -> str:
    """What killed this call, where nobody called its run off; it stays RUNNING, like one that a lost worker left."""
    if not isinstance(outcome, Failed) or outcome.kind is not FailureKind.CANCELLED or run.cancel_requested_at:
        return ""
    if held.halted.is_set():
        return "the kill switch"
    return "a database that did not answer" if held.lost.is_set() else ""


def _again_in(begun: Begun, outcome: Outcome, runtime: RuntimeDefaults) -> float | None:
    """Seconds until the call is tried again, or None: idempotent ones and those that never started, only so often."""
    tries = begun.planned.call.attempts
    if isinstance(outcome, Succeeded) or not outcome.retryable or (outcome.started and not begun.planned.repeatable):
        return None
    return runtime.delay(tries - 1, outcome.retry_after) if tries <= runtime.max_retries else None


def _started(outcome: Outcome) -> bool:
    """Whether any of the tool's code may have run."""
    return isinstance(outcome, Succeeded) or outcome.started


def _give_back(begun: Begun) -> None:
    """What `_granted` counted is not used up by a call of which nothing ran."""
    verdict = begun.planned.verdict
    if begun.job.permit.gate_id is None and isinstance(verdict, Allow) and verdict.rule_id is not None:
        rules.give_back(verdict.rule_id)


def _try_again(run: Run, begun: Begun, outcome: Outcome, wait: float, now: datetime) -> int:
    call = begun.planned.call
    change(call, CallState.PERMITTED, outcome="" if _started(outcome) else NOT_STARTED)
    facts: dict[str, Any] = {"tool": call.tool, "attempt": call.attempts, "retry_in": round(wait, 3)}
    if isinstance(outcome, Failed):
        facts |= {"outcome": outcome.kind.value, "message": outcome.message}
    return journal.note(run.id, EventKind.TOOL_RETRY, facts, now=now, call=call)


def _store_outcome(run: Run, begun: Begun, outcome: Outcome, now: datetime) -> int:
    call = begun.planned.call
    state, code, told, shown = _result(begun, outcome)
    change(
        call,
        state,
        outcome=code,
        finished_at=now,
        result_sealed=seal(told),
        result_redacted=redact(run.tenant_id, shown),
        result_digest=integrity.digest_of(run.tenant_id, told),
        tier=outcome.tier.value,
        usage=execution.usage_of(outcome),
        violations=len(outcome.violations),
    )
    for violation in outcome.violations:
        what: dict[str, Any] = {"tool": call.tool, "class": violation.attack_class.value, "detail": violation.detail}
        what |= {"tier": violation.tier.value, "tenant": violation.tenant_id, "grave": violation.grave}
        journal.note(run.id, EventKind.VIOLATION, what, now=now, call=call)
    kind = EventKind.TOOL_UNKNOWN if state is CallState.UNKNOWN else EventKind.TOOL_FINISHED
    facts: dict[str, Any] = {
        "tool": call.tool,
        "state": state.value,
        "outcome": code,
        "attempt": call.attempts,
        "tier": outcome.tier.value,
        "result": shown,
        "usage": call.usage,
    }
    return journal.note(run.id, kind, facts, now=now, call=call)


def _result(begun: Begun, outcome: Outcome) -> tuple[CallState, str, str, Any]:
    """State, code, the words for the model, and what is shown (before redaction)."""
    if isinstance(outcome, Succeeded):
        return CallState.SUCCEEDED, "succeeded", json.dumps(outcome.value, ensure_ascii=False), outcome.value
    told = turn.words_for_failed(outcome.message)
    harmless = begun.planned.repeatable or begun.planned.manifest.reversibility is Reversibility.READ_ONLY
    if outcome.kind is FailureKind.CANCELLED and not harmless:
        return CallState.UNKNOWN, outcome.kind.value, told, {"error": outcome.message}
    return CallState.FAILED, outcome.kind.value, told, {"error": outcome.message}
