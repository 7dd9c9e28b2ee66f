"""The scripted model reads the demo's plain English."""

from __future__ import annotations

from agents.models import Agent
from agents.states import CallState, RunState
from approvals.types import AllowanceMode
from tests.runs.conftest import Bench, allow


def test_the_demo_prompt_stops_at_each_step_that_needs_a_person(bench: Bench) -> None:
    allow(bench.cast.acme.pk, "read_file", AllowanceMode.BY_PERMISSION)
    Agent.objects.filter(pk=bench.agent.pk).update(
        instructions="A page without an address is http://127.0.0.1:9/demo/page/."
    )
    run = bench.submit("Please read notes.txt, write summary.txt, fetch a page. Mail zoe.miller@example.com when done.")
    asked = []
    for _ in range(4):
        run = bench.advance(run)
        if run.state != RunState.WAITING:
            break
        gate = bench.gate(run)
        asked.append(gate.tool)
        bench.decide(gate)
    assert asked == ["read_file", "write_file", "http_request"]
    assert run.state == RunState.SUCCEEDED
    assert "The meeting is on Monday." in (bench.folder / "summary.txt").read_text()
    assert [call.state for call in bench.calls(run)] == [CallState.SUCCEEDED, CallState.SUCCEEDED, CallState.FAILED]


def test_results_are_shown_redacted_and_used_raw(bench: Bench) -> None:
    (bench.folder / "notes.txt").write_text("Ask zoe.miller@example.com about it.\n")
    run = bench.approve_all(bench.submit("read notes.txt then write summary.txt"))
    assert run.state == RunState.SUCCEEDED
    assert "zoe.miller" not in run.output_redacted
    assert "zoe.miller@example.com" in (bench.folder / "summary.txt").read_text()
    for call in bench.calls(run):
        assert "zoe.miller" not in f"{call.arguments_redacted}{call.result_redacted}"


def test_a_prompt_without_steps_gets_an_answer(bench: Bench) -> None:
    run = bench.go("What is love?")
    assert run.state == RunState.SUCCEEDED
    assert "found no step" in run.output_redacted
