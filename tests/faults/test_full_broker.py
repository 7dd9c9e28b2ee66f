"""Case 27: a Redis that is full and drops nothing, as the compose file sets it up; a server of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from tests.faults import arena as arenas
from tests.faults.arena import Arena
from tests.faults.invariants import effects
from tests.fixtures.polling import eventually
from tests.fixtures.services import ServiceMissing, Services, missing, own_redis

pytestmark = pytest.mark.slow


@pytest.fixture
def own_arena(services: Services, tmp_path: Path) -> Iterator[Arena]:
    """A site whose Redis is nobody else's."""
    with contextlib.ExitStack() as cleanup:
        try:
            broker = cleanup.enter_context(own_redis())
        except ServiceMissing as reason:
            missing(str(reason))
        yield cleanup.enter_context(arenas.arena(Services(services.database_url, broker), tmp_path))


def fill(broker: redis.Redis) -> None:
    """Let it hold twice what it may: it reads and publishes, and refuses whatever would need room."""
    broker.config_set("maxmemory-policy", "noeviction")
    broker.config_set("maxmemory", int(broker.info("memory")["used_memory"]) // 2)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        broker.set("one", "more")


def test_27_a_full_broker_costs_no_decision_and_no_run(own_arena: Arena) -> None:
    arena = own_arena
    waiting = [arena.submit() for _ in range(5)]
    for run in waiting:
        arena.waits(run)
    logs = {name: process.log_text for name, process in arena.site.processes.items()}
    with arena.redis() as broker:
        fill(broker)
        # Each form is sent once: `decide_all` and `submit` would send it again after a 503.
        rita, alice = arena.person("rita"), arena.person("alice")
        for gate, tool in arena.ask("SELECT id, tool FROM approvals_approvalgate WHERE state = 'pending'"):
            assert rita.decide({"id": str(gate), "tool": tool}, "approve").status_code == 200
            arena.acknowledged[str(gate)] = "approve"
        handed_in = alice.submit('effect {"key": "handed in"}')
        arena.keys[handed_in] = "handed in"
        assert rita.client.get("/queue/").status_code == 200
        assert httpx.get(f"{arena.site.url}/healthz", timeout=10).status_code == 200
        eventually(lambda: "was not rung (OperationalError)" in logs["web"](), what="a bell that is refused")
        eventually(lambda: "SchedulingError" in logs["beat"](), what="a sweep that is refused")
        # A worker that starts now is refused before it can say what it listens to.
        arena.restart("worker")
        eventually(lambda: "OutOfMemoryError" in logs["worker"](), within=60, what="a worker that is refused")
        broker.config_set("maxmemory", 0)
    for run in [*waiting, handed_in]:
        assert arena.ends(run, within=90) == "succeeded"
        assert effects(arena.journal)["effect", arena.keys[run]] == 1
    for name, process in arena.site.processes.items():
        assert process.popen.poll() is None, name
    assert "Traceback" not in logs["web"]()
    arena.settle()
    assert arena.faults() == []
