"""The main job through all kinds of real tools on PostgreSQL and Redis, eight at once; and a killed worker."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

EIGHT = 8
MEETING = "\n".join(f'meet {{"me": {number}, "of": {EIGHT}}}' for number in range(EIGHT))
PROMPT = f"""{MEETING}

calculator {{"expression": "6 * 7"}}
read_file {{"path": "notes.txt"}}
search_files {{"text": "ferry"}}
list_directory {{}}

write_file {{"path": "done.txt", "text": "All met."}}

http_request {{"url": "%s/healthz"}}

run_python {{"code": "result = sum(range(10))"}}
"""
PREPARE = """
from agents.models import Agent
from approvals.models import ToolAllowance
from routekit_site.tenancy.models import Tenant
acme = Tenant.objects.get(slug="acme")
ToolAllowance.objects.update_or_create(tenant=acme, tool="meet", defaults={"mode": "by_permission"})
agent = Agent.objects.get(tenant=acme)
agent.sandbox["network"] = {"allowed_networks": ["%s"]}
agent.save()
"""


def query(site: Site, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(site.environment["DATABASE_URL"], connect_timeout=10) as database:
        return database.execute(sql, parameters).fetchall()


def family(pid: int) -> set[int]:
    """All descendants of a process."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        # One that ends meanwhile has none any more.
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found |= {int(child)} | family(int(child))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_whole_job_with_eight_calls_at_once(own_stack: Callable[..., Site]) -> None:
    site = own_stack(ROUTEKIT_APPS="tests.meeting")
    no_hold(site)
    site.manage("shell", "-c", PREPARE % site.url.removeprefix("http://"))
    alice, rita = Person.at(site, "alice"), Person.at(site, "rita")
    run_id = alice.submit(PROMPT % site.url)
    eventually(lambda: len(rita.waiting()) == EIGHT, within=60, what="eight gates")

    def approved_and_over() -> bool:
        for gate in rita.waiting():
            rita.approve(gate)
        state: str = alice.run(run_id)["state"]
        return state == "succeeded"

    eventually(approved_and_over, within=150, what="the end of the run")
    rows = query(
        site,
        "SELECT tool, state, attempts, tier, started_at, usage FROM agents_toolcall WHERE run_id = %s ORDER BY id",
        run_id,
    )
    assert {(state, attempts) for _, state, attempts, *_ in rows} == {("succeeded", 1)}
    assert sorted(row[0] for row in rows) == sorted(
        ["meet"] * EIGHT
        + ["calculator", "read_file", "search_files", "list_directory", "write_file", "http_request", "run_python"]
    )
    assert len({row[4] for row in rows if row[0] == "meet"}) == 1
    assert {row[3] for row in rows} <= {"T2", "T1"}
    for tool, used, amount in (("http_request", "bytes_received", 1), ("write_file", "bytes_written", 8)):
        assert next(row[5][used] for row in rows if row[0] == tool) >= amount
    finished = query(
        site, "SELECT payload FROM traces_traceevent WHERE trace_id = %s AND kind = 'tool.finished'", run_id
    )
    assert all(payload["usage"]["wall_seconds"] > 0 and payload["tier"] for (payload,) in finished)

    kill_the_parent_alone(site)


def kill_the_parent_alone(site: Site) -> None:
    """SIGKILL, as the kernel does when memory runs out: children, zygotes and standby children end with it."""
    worker = site.processes["worker"].popen
    left = family(worker.pid)
    assert len(left) > EIGHT // 2, "the worker's children, their zygotes and standby children"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(60)
    eventually(lambda: not any(alive(pid) for pid in left), what="the end of what the worker started")


pytestmark = [pytest.mark.services, pytest.mark.processes]
