"""What becomes of the calls that a model proposes, and what it is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F

from agents import tasks
from agents.models import Run
from agents.states import CallState, RunState
from approvals.models import ApprovalGate, TenantPolicy, ToolAllowance
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from tests.runs.conftest import Bench, allow

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'


@pytest.mark.parametrize(
    ("line", "outcome", "told"),
    [
        ('read_file {"path": }', "invalid_arguments", "not valid JSON"),
        ('read_file {"wrong": 1}', "invalid_arguments", "path: Field required"),
        ('write_file {"path": "a", "text": 7}', "invalid_arguments", "text:"),
        ('run_python {"code": "1"}', "deny", "Not allowed"),
        ('format_disk {"now": true}', "unknown_tool", 'no tool called "format_disk"'),
    ],
)
def test_a_bad_call_is_told_and_its_siblings_go_on(bench: Bench, line: str, outcome: str, told: str) -> None:
    run = bench.go(f'{line}\ncalculator {{"expression": "6*7"}}')
    assert run.state == RunState.SUCCEEDED
    bad, good = bench.calls(run)
    assert (bad.state, bad.outcome, bad.attempts) == (CallState.DENIED, outcome, 0)
    assert told in str(bad.result_redacted)
    assert (good.state, good.result_redacted) == (CallState.SUCCEEDED, {"result": "42"})
    assert told in run.output_redacted


def test_calls_that_need_nobody_run_before_the_run_waits(bench: Bench) -> None:
    run = bench.go(f'{WRITE}\ncalculator {{"expression": "6*7"}}\nread_file {{"path": "notes.txt"}}')
    assert run.state == RunState.WAITING
    assert [call.state for call in bench.calls(run)] == [CallState.GATED, CallState.SUCCEEDED, CallState.SUCCEEDED]


def test_a_rejection_reaches_the_model_with_its_reason(bench: Bench) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run), "reject", "Use the wiki instead")
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert not (bench.folder / "summary.txt").exists()
    (call,) = bench.calls(run)
    assert (call.state, call.attempts) == (CallState.REJECTED, 0)
    assert "rejected this call" in bench.told(run)[0]
    assert "Use the wiki instead" in run.output_redacted


def test_the_run_goes_on_when_all_gates_of_a_step_are_decided(bench: Bench) -> None:
    run = bench.go(WRITE + '\nwrite_file {"path": "b.txt", "text": "b"}')
    first, second = bench.gates(run)
    bench.decide(first)
    assert bench.advance(run).state == RunState.WAITING
    bench.decide(second, "reject")
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert {call.state for call in bench.calls(run)} == {CallState.SUCCEEDED, CallState.REJECTED}


def test_expired_lapsed_and_rejected_are_three_different_things(bench: Bench) -> None:
    run = bench.go(
        'write_file {"path": "a", "text": "a"}\nwrite_file {"path": "b", "text": "b"}\ndelete_file {"path": "c"}'
    )
    expired, lapsed, rejected = bench.gates(run)
    bench.decide(lapsed)
    bench.decide(rejected, "reject")
    clocks = ("opened_at", "decide_by", "decided_at", "hold_until", "execute_by")
    days_ago = {clock: F(clock) - timedelta(days=2) for clock in clocks}
    ApprovalGate.objects.filter(pk__in=[expired.pk, lapsed.pk]).update(**days_ago)
    Run.objects.update(created_at=F("created_at") - timedelta(days=2))
    bench.rung.clear()
    tasks.sweep()
    assert run.id in bench.rung
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    told = bench.told(run)
    assert "Nobody decided" in told[0]
    assert "ran out before it could be used" in told[1]
    assert "rejected this call" in told[2]
    assert [call.outcome for call in bench.calls(run)] == ["expired", "lapsed", "rejected"]


def test_an_approval_is_held_for_second_thoughts(bench: Bench) -> None:
    TenantPolicy.objects.update(approval_hold_seconds=30)
    run = bench.go(WRITE)
    gate = bench.gate(run)
    bench.decide(gate)
    assert bench.advance(run).state == RunState.WAITING
    ApprovalGate.objects.filter(pk=gate.pk).update(hold_until=database_now())
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED


def test_a_rejected_call_is_rejected_again_at_once_and_the_third_ends_the_run(bench: Bench) -> None:
    run = bench.go(f'{WRITE}\n\n{WRITE}\n\n{WRITE}\n\ncalculator {{"expression": "1"}}')
    bench.decide(bench.gate(run), "reject", "never")
    run = bench.advance(run)
    assert (run.state, run.error_kind) == (RunState.FAILED, "repeated_call")
    told = bench.told(run)
    assert told == [told[0]] * 3
    assert ApprovalGate.objects.of_run(run.id).count() == 1


def test_a_changed_file_reopens_the_gate_with_the_difference(bench: Bench) -> None:
    (bench.folder / "summary.txt").write_text("old")
    run = bench.go('write_file {"path": "summary.txt", "text": "new", "overwrite": true}')
    first = bench.gate(run)
    bench.decide(first)
    (bench.folder / "summary.txt").write_text("changed meanwhile")
    run = bench.advance(run)
    assert run.state == RunState.WAITING
    second = bench.gate(run)
    assert second.reopens_id == first.pk
    assert second.change is not None
    assert [item["fact"] for item in second.change["differences"]] == ["context"]
    assert (bench.folder / "summary.txt").read_text() == "changed meanwhile"
    bench.decide(second)
    assert bench.advance(run).state == RunState.SUCCEEDED
    assert (bench.folder / "summary.txt").read_text() == "new"


def test_a_tool_denied_after_the_approval_does_not_run(bench: Bench) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    ToolAllowance.objects.filter(tool="write_file").update(mode=AllowanceMode.DENY)
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert [call.state for call in bench.calls(run)] == [CallState.DENIED]
    assert not (bench.folder / "summary.txt").exists()


def test_denied_tools_are_not_offered(bench: Bench) -> None:
    allow(bench.cast.acme.pk, "calculator", AllowanceMode.DENY)
    run = bench.go("nonsense {}")
    assert "calculator" not in bench.told(run)[0]
    assert "read_file" in bench.told(run)[0]
