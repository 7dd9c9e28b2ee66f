"""The main job, end to end, in one process: submit, gate, approve, run, finish."""

from __future__ import annotations

from agents.states import CallState, RunState
from tests.runs.conftest import Bench


def test_a_gated_call_waits_then_runs_as_approved(bench: Bench) -> None:
    run = bench.go('write_file {"path": "summary.txt", "text": "All is well."}')
    assert run.state == RunState.WAITING
    assert run.lease_until is None
    assert not (bench.folder / "summary.txt").exists()

    bench.decide(bench.gate(run))
    assert run.id in bench.rung
    run = bench.advance(run)

    assert run.state == RunState.SUCCEEDED, run.error_message
    assert (bench.folder / "summary.txt").read_text() == "All is well."
    (call,) = bench.calls(run)
    assert (call.state, call.attempts) == (CallState.SUCCEEDED, 1)
    assert bench.events(run) == [
        "run.submitted",
        "run.started",
        "model.request",
        "model.response",
        "gate.opened",
        "policy.verdict",
        "run.waiting",
        "gate.decided",
        "run.resumed",
        "permit.issued",
        "tool.started",
        "tool.finished",
        "model.request",
        "model.response",
        "run.finished",
    ]
