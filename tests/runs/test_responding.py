"""A person answers the model in the tool's place: the call does not run, and the model is told so."""

from __future__ import annotations

import pytest
from django.db import transaction

from agents import integrity
from agents.models import Run, ToolCall
from agents.runs.transcript import messages_of
from agents.states import CallState, RunState
from approvals import gates
from approvals.errors import AnswerMissing, AnswerTooLong, BadBallot
from approvals.models import ApprovalGate, Decision, TenantPolicy
from approvals.verification import verify_gates
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import seal
from tests.runs.conftest import Bench
from traces.models import LedgerEntry, TraceEvent

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'
ANSWER = "It is in the wiki already; mail bob.builder@example.com if it is not."


def respond(bench: Bench, run: Run, answer: str = ANSWER, **changes: str) -> Decision:
    """Answer the run's gate."""
    gate = bench.gate(run)
    fields = {"kind": "respond", "digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": "key"}
    ballot = gates.Ballot(**{**fields, "answer": answer, **changes})  # type: ignore[arg-type]
    with transaction.atomic():
        return gates.decide(gate.id, bench.cast.rita, ballot, now=database_now())


def test_the_model_is_told_the_answer_and_the_call_does_not_run(bench: Bench) -> None:
    run = bench.go(WRITE)
    respond(bench, run)
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert not (bench.folder / "summary.txt").exists()
    (call,) = bench.calls(run)
    assert (call.state, call.attempts, call.outcome) == (CallState.ANSWERED, 0, "answered")
    told = messages_of(run)[2]
    assert told.text.startswith("A person answered in the tool's place; the call did not run.")
    assert ANSWER in told.text
    assert told.ran is False  # type: ignore[union-attr]


def test_the_answer_is_redacted_wherever_it_is_stored_in_clear(bench: Bench) -> None:
    run = bench.go(WRITE)
    decision = respond(bench, run)
    bench.advance(run)
    stored = [decision.reason, *map(str, TraceEvent.objects.values()), *map(str, LedgerEntry.objects.values())]
    stored += [str(call.result_redacted) for call in bench.calls(run)] + [str(bench.fresh(run).output_redacted)]
    assert "bob.builder" not in "\n".join(stored)
    assert "wiki already" in decision.reason


def test_an_answer_is_held_and_can_be_taken_back(bench: Bench) -> None:
    TenantPolicy.objects.update(approval_hold_seconds=30)
    run = bench.go(WRITE)
    gate = bench.gate(run)
    respond(bench, run)
    assert bench.advance(run).state == RunState.WAITING
    with transaction.atomic():
        gates.undo(gate.id, bench.cast.rita, now=database_now())
    TenantPolicy.objects.update(approval_hold_seconds=0)
    bench.decide(gate)
    assert bench.advance(run).state == RunState.SUCCEEDED
    assert (bench.folder / "summary.txt").read_text() == "All is well."


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"answer": ""}, AnswerMissing),
        ({"answer": " \n"}, AnswerMissing),
        ({"answer": "x" * 20_001}, AnswerTooLong),
        ({"answer": "\ud800"}, BadBallot),
        ({"kind": "approve"}, BadBallot),
    ],
)
def test_an_answer_that_cannot_be_taken_moves_nothing(
    bench: Bench, changes: dict[str, str], error: type[Exception]
) -> None:
    run = bench.go(WRITE)
    with pytest.raises(error):
        respond(bench, run, **changes)
    assert bench.gate(run).state == "pending"


def test_an_answer_changed_in_the_database_is_noticed(bench: Bench) -> None:
    run = bench.go(WRITE)
    respond(bench, run)
    assert [finding.faults for finding in verify_gates(bench.cast.acme.pk)] == [()]
    Decision.objects.update(answer_sealed=seal("Do as you like."))
    (finding,) = verify_gates(bench.cast.acme.pk)
    assert finding.faults == ("A decision is not signed by the web tier.",)


def test_a_call_of_unknown_outcome_can_be_answered_with_what_came_of_it(bench: Bench) -> None:
    run = bench.go(WRITE)
    (call,) = bench.calls(run)
    unknown = {"state": CallState.UNKNOWN}
    ToolCall.objects.filter(run=run).update(**unknown, mac=integrity.call_mac(call, unknown))
    respond(bench, run, answer="It was written.")
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state) == (RunState.SUCCEEDED, CallState.ANSWERED)
    assert not (bench.folder / "summary.txt").exists()


def test_what_must_not_be_repeated_is_refused_at_once_when_it_is_proposed_again(bench: Bench) -> None:
    run = bench.go(f"{WRITE}\n\n{WRITE}")
    (call,) = bench.calls(run)
    unknown = {"state": CallState.UNKNOWN}
    ToolCall.objects.filter(run=run).update(**unknown, mac=integrity.call_mac(call, unknown))
    bench.decide(bench.gate(run), "reject", "It happened.")
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    first, again = bench.calls(run)
    assert (first.state, again.state, again.outcome) == (CallState.FAILED, CallState.REJECTED, "rejected_before")
    assert bench.told(run)[0] == bench.told(run)[1]
    assert ApprovalGate.objects.count() == 1


def test_a_request_that_its_submitter_took_back_lets_the_run_go_on(bench: Bench) -> None:
    run = bench.go(WRITE)
    with transaction.atomic():
        gates.take_back(bench.gate(run).id, bench.cast.alice, now=database_now())
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert bench.calls(run)[0].state == CallState.WITHDRAWN
    assert ApprovalGate.objects.get().withdrawn_by == bench.cast.alice
    assert "withdrawn" in bench.told(run)[0]
