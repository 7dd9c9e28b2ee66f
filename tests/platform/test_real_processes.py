"""The compose file's processes on PostgreSQL and Redis: suspended runs hold no worker, and each call runs once."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

JOBS = 50


@pytest.fixture
def site(stack: Site) -> Site:
    no_hold(stack)
    return stack


def query(site: Site, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(site.environment["DATABASE_URL"]) as database:
        return database.execute(sql, parameters).fetchall()


def runs_worked_on(site: Site) -> int | None:
    """How many runs the worker's processes work on now, as the worker itself tells; None where it does not answer."""
    code = (
        "import json, routekit_site; found = routekit_site.celery_app.control.inspect(timeout=5).active() or {}; "
        "print(json.dumps({name: [t['name'] for t in tasks] for name, tasks in found.items()}))"
    )
    active: dict[str, list[str]] = json.loads(site.manage("shell", "--no-imports", "-c", code).stdout.splitlines()[-1])
    if not active:
        return None
    assert len(active) == 1, "one worker answers"
    return sum(name == "agents.tasks.advance_run" for tasks in active.values() for name in tasks)


def test_fifty_jobs_wait_without_a_worker_and_run_each_call_once(site: Site) -> None:
    alice, rita = Person.at(site, "alice"), Person.at(site, "rita")
    run_ids = [
        alice.submit(f'write_file {{"path": "job-{number}.txt", "text": "job {number}"}}') for number in range(JOBS)
    ]

    def states() -> Counter[str]:
        rows = query(site, "SELECT state FROM agents_run WHERE id = ANY(%s::uuid[])", run_ids)
        return Counter(state for (state,) in rows)

    eventually(lambda: states() == {"waiting": JOBS}, within=120, what="50 waiting runs")
    leased = "SELECT count(*) FROM agents_run WHERE leased_by IS NOT NULL AND id = ANY(%s::uuid[])"
    assert query(site, leased, run_ids) == [(0,)]
    # The task that stored the last of them ends a moment after its commit.
    eventually(lambda: runs_worked_on(site) == 0, what="a worker that works on no run")

    gates = [row for row in rita.waiting() if row["run"] in run_ids]
    assert len(gates) == JOBS
    with ThreadPoolExecutor(max_workers=4) as reviewers:
        list(reviewers.map(rita.approve, gates))
    eventually(lambda: states() == {"succeeded": JOBS}, within=120, what="50 finished runs")

    calls = query(
        site,
        "SELECT run_id::text, state, attempts FROM agents_toolcall WHERE run_id = ANY(%s::uuid[])",
        run_ids,
    )
    assert sorted(calls) == sorted((run_id, "succeeded", 1) for run_id in run_ids)
    executed = query(
        site,
        "SELECT call_id FROM traces_traceevent WHERE kind = 'tool.started' AND trace_id = ANY(%s::uuid[])",
        run_ids,
    )
    assert len(executed) == JOBS
    assert len(set(executed)) == JOBS
    folder = Path(site.environment["ROUTEKIT_DATA_DIR"]) / "sandboxes" / "acme" / "files-and-web"
    for number in range(JOBS):
        assert (folder / f"job-{number}.txt").read_text(encoding="utf-8") == f"job {number}"


def environment_of(site: Site, name: str) -> bytes:
    return Path(f"/proc/{site.processes[name].popen.pid}/environ").read_bytes()


def test_only_the_web_process_is_given_the_signing_key(site: Site) -> None:
    assert b"ROUTEKIT_SIGNING_KEY=" in environment_of(site, "web")
    for name in ("worker", "beat"):
        assert b"ROUTEKIT_VERIFY_KEYS=" in environment_of(site, name)
        assert b"ROUTEKIT_SIGNING_KEY=" not in environment_of(site, name)
