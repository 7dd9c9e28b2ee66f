"""Real workers on PostgreSQL and Redis: killed in mid-call, told to stop, or rung for by a broker that forgot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest
import redis

from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, start_compose
from tests.fixtures.services import flush_claimed

# Asleep, not busy: a call that works for 15 s would meet its limit of processor time.
BUSY = 'run_python {"code": "import time\\ntime.sleep(%d)"}'


@pytest.fixture
def site(own_stack: Callable[..., Site]) -> Site:
    made = own_stack(ROUTEKIT_LEASE_SECONDS="3")
    no_hold(made)
    return made


def one(site: Site, sql: str, *parameters: Any) -> tuple[Any, ...]:
    with psycopg.connect(site.environment["DATABASE_URL"]) as database:
        row = database.execute(sql, parameters).fetchone()
    assert row is not None
    return row


def call_of(site: Site, run_id: str) -> tuple[Any, ...]:
    with psycopg.connect(site.environment["DATABASE_URL"]) as database:
        rows = database.execute("SELECT state, attempts FROM agents_toolcall WHERE run_id = %s", [run_id]).fetchall()
    return rows[0] if rows else ("", 0)


def state_of(site: Site, run_id: str) -> str:
    return str(one(site, "SELECT state FROM agents_run WHERE id = %s", run_id)[0])


def succeeded(site: Site, run_id: str) -> bool:
    return state_of(site, run_id) == "succeeded"


def approve(site: Site, run_id: str) -> None:
    rita = Person.at(site, "rita")
    gates = eventually(lambda: [row for row in rita.waiting() if row["run"] == run_id], what="a gate")
    rita.approve(gates[0])


def test_a_call_that_a_killed_worker_left_is_a_question_and_runs_again_only_when_told(site: Site) -> None:
    run_id = Person.at(site, "alice").submit(BUSY % 15)
    approve(site, run_id)
    eventually(lambda: call_of(site, run_id) == ("running", 1), what="the call runs")
    site.processes["worker"].kill()
    start_compose(site, "worker")
    eventually(lambda: call_of(site, run_id)[0] == "unknown", within=60, what="the call is unknown")
    eventually(lambda: state_of(site, run_id) == "waiting", what="a person is asked")
    assert call_of(site, run_id) == ("unknown", 1)
    approve(site, run_id)
    eventually(lambda: state_of(site, run_id) == "succeeded", within=90, what="the run ends")
    assert call_of(site, run_id) == ("succeeded", 2)


@pytest.mark.slow
def test_a_worker_told_to_stop_finishes_its_call_and_hands_the_run_on(site: Site) -> None:
    run_id = Person.at(site, "alice").submit(BUSY % 2)
    approve(site, run_id)
    eventually(lambda: call_of(site, run_id) == ("running", 1), what="the call runs")
    assert site.processes["worker"].stop(within=60) == 0
    assert call_of(site, run_id) == ("succeeded", 1)
    assert one(site, "SELECT state, leased_by FROM agents_run WHERE id = %s", run_id) == ("queued", None)
    start_compose(site, "worker")
    eventually(lambda: state_of(site, run_id) == "succeeded", within=60, what="the run ends")
    assert call_of(site, run_id) == ("succeeded", 1)


@pytest.mark.slow
def test_jobs_survive_a_broker_that_forgets_everything(site: Site) -> None:
    site.processes["worker"].stop(within=60)
    alice = Person.at(site, "alice")
    run_ids = [alice.submit('calculator {"expression": "6*7"}') for _ in range(5)]
    site.processes["beat"].stop()
    with redis.Redis.from_url(site.environment["REDIS_URL"]) as broker:
        flush_claimed(broker)
    start_compose(site, "worker", "beat")
    for run_id in run_ids:
        eventually(partial(succeeded, site, run_id), within=60, what="the run ends")
