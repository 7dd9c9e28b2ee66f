"""A process that can't have what it needs for a run, memory or a thread: case 14 in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from agents.models import Run
from agents.runs import pulse
from agents.states import RunState
from routekit_site.tenancy.exhaustion import is_exhausted
from tests.runs.conftest import Bench


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have the machine refuse the next thread of a name, as it does when there is no memory for its stack."""
    real = threading.Thread.start

    def arm(name: str) -> None:
        def refuse(thread: threading.Thread) -> None:
            if thread.name != name:
                real(thread)
                return
            monkeypatch.setattr(threading.Thread, "start", real)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)

    return arm


def test_a_run_whose_heartbeat_can_not_start_is_let_go_and_tried_again(
    bench: Bench, no_thread: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = pulse._Pulse()
    monkeypatch.setattr(pulse, "_pulse", lambda _process: fresh)
    run = bench.submit("hello")
    no_thread("pulse")
    run = bench.advance(run)
    assert (run.state, run.crashes, run.leased_by) == (RunState.QUEUED, 1, None)
    # Nor does a later heartbeat of this process keep a lease for it.
    assert not fresh._held
    Run.objects.filter(pk=run.pk).update(wake_at=None)
    assert bench.advance(run).state == RunState.SUCCEEDED


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "no memory"), RuntimeError("can't start new thread")])
def test_what_says_that_there_is_no_memory_is_known_through_other_errors(error: Exception) -> None:
    outer = ValueError("of something else")
    outer.__context__ = error
    assert is_exhausted(error)
    assert is_exhausted(outer)


@pytest.mark.parametrize("error", [None, OSError(2, "no such file"), RuntimeError("of ours")])
def test_other_errors_are_no_lack_of_memory(error: Exception | None) -> None:
    assert not is_exhausted(error)
