"""An approval holds for the file that the reviewer was shown, up to the moment at which the tool is given the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from agents import execution
from agents.execution import Job, Outcome
from agents.models import Run
from agents.states import CallState, RunState
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from tests.runs.conftest import Bench, allow

REPLACE = 'write_file {"path": "notes.txt", "text": "new", "overwrite": true}'
DELETE = 'delete_file {"path": "notes.txt"}'


@pytest.fixture
def before_the_tool(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Do something between the redemption of the next call's approval and its run."""

    def arm(act: Callable[[], object]) -> None:
        real = execution.run_all

        def running(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
            monkeypatch.setattr(execution, "run_all", real)
            act()
            return real(jobs, stop)

        monkeypatch.setattr(execution, "run_all", running)

    return arm


@pytest.mark.parametrize("prompt", [REPLACE, DELETE])
def test_a_file_that_changes_after_the_redemption_is_asked_about_again(
    bench: Bench, before_the_tool: Callable[[Callable[[], object]], None], prompt: str
) -> None:
    notes = bench.folder / "notes.txt"
    run = bench.go(prompt)
    bench.decide(bench.gate(run))
    before_the_tool(lambda: notes.write_text("Somebody else's.\n"))
    run = bench.advance(run)
    assert notes.read_text() == "Somebody else's.\n"
    assert run.state == RunState.QUEUED
    Run.objects.filter(pk=run.pk).update(wake_at=database_now())
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state) == (RunState.WAITING, CallState.GATED)
    gate = bench.gate(run)
    assert "What the call acts on has changed" in str(gate.presentation["change"])
    assert "Somebody else" in str(gate.presentation["file"])
    bench.decide(gate)
    assert bench.advance(run).state == RunState.SUCCEEDED
    assert not notes.exists() or notes.read_text() == "new"


def test_a_call_that_nobody_was_shown_a_file_for_is_run_whatever_the_file_is_now(
    bench: Bench, before_the_tool: Callable[[Callable[[], object]], None]
) -> None:
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ALLOW)
    run = bench.submit(REPLACE)
    before_the_tool(lambda: (bench.folder / "notes.txt").write_text("Somebody else's.\n"))
    assert bench.advance(run).state == RunState.SUCCEEDED
    assert (bench.folder / "notes.txt").read_text() == "new"


def test_of_a_file_that_is_too_large_to_be_shown_the_end_counts_too(bench: Bench) -> None:
    large = bench.folder / "large.txt"
    large.write_bytes(b"x" * 1_500_000)
    run = bench.go('delete_file {"path": "large.txt"}')
    bench.decide(bench.gate(run))
    with large.open("r+b") as end:
        end.seek(-1, 2)
        end.write(b"y")
    run = bench.advance(run)
    assert run.state == RunState.WAITING
    assert large.exists()
    assert "What the call acts on has changed" in str(bench.gate(run).presentation["change"])
