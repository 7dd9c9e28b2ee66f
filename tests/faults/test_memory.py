"""Case 14: a worker's process that runs out of memory, by a run or without one."""

from __future__ import annotations

import pytest

from tests.faults.arena import Arena
from tests.faults.invariants import effects
from tests.fixtures.polling import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def slots(arena: Arena) -> list[int]:
    """The worker's processes, which have worked already."""
    assert arena.ends(arena.submit()) == "succeeded"
    return eventually(lambda: found if len(found := arena.slots()) > 1 else None, within=60, what="the worker's slots")


@pytest.mark.parametrize("point", ["claim.before_commit", "model.asked", "outcome.before_commit"])
def test_14_a_process_that_runs_out_of_memory_is_replaced(arena: Arena, slots: list[int], point: str) -> None:
    worker = arena.site.processes["worker"].popen
    arena.arm(point, "memory")
    run = arena.submit()
    assert arena.ends(run) == "succeeded"
    assert arena.taken(point)
    eventually(lambda: set(slots) - set(arena.slots()), what="the process is gone")
    eventually(lambda: len(arena.slots()) == len(slots), within=60, what="a process in its place")
    assert worker.poll() is None
    assert effects(arena.journal)["effect", arena.keys[run]] == 1


def test_14_a_run_that_takes_all_memory_is_given_up_and_others_go_on(arena: Arena) -> None:
    def given_up() -> bool:
        if arena.taken("model.asked") and arena.state(run) != "failed":
            arena.arm("model.asked", "memory")
        return arena.state(run) == "failed"

    other = arena.submit()
    arena.waits(other)
    arena.arm("model.asked", "memory")
    run = arena.submit()
    eventually(given_up, within=90, what="the run is given up")
    ((kind, message),) = arena.ask("SELECT error_kind, error_message FROM agents_run WHERE id = %s", run)
    assert (kind, "MemoryError" in message, "3 times" in message) == ("crashed", True, True)
    assert arena.ends(other) == "succeeded"
