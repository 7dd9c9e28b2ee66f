"""The database says nothing for the length of a lease, then answers: what was stopped meanwhile is sorted out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.conf import LazySettings

from agents import execution
from agents.errors import ModelInterrupted
from agents.execution import Failed, FailureKind, Job, Outcome
from agents.providers import PROVIDERS
from agents.providers.protocol import Completion, ModelRequest
from agents.sandbox.outcome import Tier
from agents.states import CallState, RunState
from tests.runs.conftest import Bench

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'
Stop = Callable[[], bool]


@pytest.fixture
def silent(settings: LazySettings) -> Callable[[Stop], bool]:
    """Have a lease run out for whoever asks `stop`, and answer whether it says so; the next one is as long as ever."""

    def ask(stop: Stop) -> bool:
        usual, settings.ROUTEKIT_LEASE_SECONDS = settings.ROUTEKIT_LEASE_SECONDS, -1
        said = stop()
        settings.ROUTEKIT_LEASE_SECONDS = usual
        return said

    return ask


@pytest.fixture
def stopped_in_tool(monkeypatch: pytest.MonkeyPatch, silent: Callable[[Stop], bool]) -> None:
    """The next tool call is stopped because its worker has not heard the database."""
    real = execution.run_all

    def stopping(jobs: Sequence[Job], stop: Stop) -> list[Outcome]:
        monkeypatch.setattr(execution, "run_all", real)
        assert silent(stop)
        return [Failed(FailureKind.CANCELLED, "Stopped.", retryable=False, tier=Tier.T1) for _ in jobs]

    monkeypatch.setattr(execution, "run_all", stopping)


@pytest.mark.usefixtures("stopped_in_tool")
def test_a_person_is_asked_about_a_call_that_was_stopped_by_silence(bench: Bench) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, run.crashes, call.state) == (RunState.WAITING, 0, CallState.UNKNOWN)
    gate = bench.gate(run)
    assert "did NOT take effect" in str(gate.presentation["change"])
    bench.decide(gate)
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state, call.attempts) == (RunState.SUCCEEDED, CallState.SUCCEEDED, 2)


@pytest.mark.usefixtures("stopped_in_tool")
def test_a_call_that_may_be_repeated_is_run_again_after_silence(bench: Bench) -> None:
    run = bench.go('read_file {"path": "notes.txt"}')
    (call,) = bench.calls(run)
    assert (run.state, run.crashes, call.attempts) == (RunState.SUCCEEDED, 0, 2)


def test_a_model_is_not_asked_over_and_over_after_silence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, silent: Callable[[Stop], bool]
) -> None:
    real: Any = PROVIDERS["scripted"]
    asked: list[bool] = []

    class Interrupted:
        def complete(self, request: ModelRequest, *, stop: Stop) -> Completion:
            asked.append(silent(stop) if not asked else stop())
            if asked[-1] and len(asked) < 5:
                raise ModelInterrupted
            found: Completion = real.complete(request, stop=stop)
            return found

    monkeypatch.setitem(PROVIDERS, "scripted", Interrupted())
    assert bench.go('calculator {"expression": "1"}').state == RunState.SUCCEEDED
    assert asked[:2] == [True, False]
