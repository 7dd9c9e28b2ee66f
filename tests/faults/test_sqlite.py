"""Cases 35 and 36: SQLite under many writers at once, and under a reader who does not end."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.compose import PROJECT
from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

pytestmark = pytest.mark.slow

WRITERS, EACH = 4, 40
# Reads, then writes, in one transaction: what a lock that is taken late fails on.
STORM = f"""
import uuid
from django.db import transaction
from agents import runs
from agents.models import Agent
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User
agent = Agent.objects.filter(tenant__slug="acme", provider="scripted").first()
alice = User.objects.get(username="alice")
for number in range({EACH}):
    with transaction.atomic():
        runs.submit(
            tenant_id=agent.tenant_id, user=alice, agent_id=agent.pk, idempotency_key=uuid.uuid4().hex,
            prompt='read_file {{"path": "notes.txt"}}', now=database_now(),
        )
"""
MEGABYTE = 1024 * 1024


def storm(site: Site) -> subprocess.Popen[bytes]:
    """A process that hands in jobs as fast as it can."""
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", STORM]
    return subprocess.Popen(command, cwd=PROJECT, env=site.environment, stderr=subprocess.PIPE)


def count(site: Site, sql: str) -> int:
    """A number from the database."""
    with contextlib.closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True, timeout=20)) as database:
        return int(database.execute(sql).fetchone()[0])


def test_35_a_storm_of_writers_meets_no_locked_database(own_embedded: Callable[..., Site]) -> None:
    site = own_embedded(ROUTEKIT_SUBMIT_RATE="10000/minute", ROUTEKIT_DECIDE_RATE="10000/minute")
    no_hold(site)
    alice, rita = Person.at(site, "alice"), Person.at(site, "rita")
    gates = [rita.gate_of(alice.submit(f'write_file {{"path": "{n}.txt", "text": "{n}"}}')) for n in range(12)]
    before, writers = count(site, "SELECT count(*) FROM agents_run"), [storm(site) for _ in range(WRITERS)]
    answers = [rita.decide(gate, "approve").status_code for gate in gates]
    errors = [writer.communicate(timeout=240)[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, errors
    assert answers == [200] * len(gates)
    assert count(site, "SELECT count(*) FROM agents_run") == before + WRITERS * EACH
    for gate in gates:
        alice.run_in(gate["run"], "succeeded", within=120)
    assert "can't be used" not in site.logs()
    assert "locked" not in site.logs()


@contextlib.contextmanager
def reading(site: Site) -> Iterator[None]:
    """Somebody who began to read the database and does not end."""
    with contextlib.closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True)) as database:
        database.execute("BEGIN")
        database.execute("SELECT count(*) FROM agents_run").fetchone()
        yield


def test_36_a_reader_who_does_not_end_stops_nobody_and_its_room_comes_back(own_embedded: Callable[..., Site]) -> None:
    site = own_embedded()
    no_hold(site)
    log = Path(f"{site.database}-wal")
    alice, rita = Person.at(site, "alice"), Person.at(site, "rita")
    with reading(site):
        with contextlib.closing(sqlite3.connect(site.database, timeout=20)) as database:
            database.execute("CREATE TABLE ballast (bytes BLOB)")
            for _ in range(48):
                with database:
                    database.execute("INSERT INTO ballast VALUES (zeroblob(?))", [MEGABYTE])
        run = alice.submit('write_file {"path": "one.txt", "text": "one"}')
        rita.approve(rita.gate_of(run))
        alice.run_in(run, "succeeded")
        assert log.stat().st_size > 48 * MEGABYTE

    def given_back() -> bool:
        rita.gate_of(alice.submit('read_file {"path": "one.txt"}'))
        return log.stat().st_size <= 16 * MEGABYTE

    eventually(given_back, within=60, what="the log's room is given back")
    assert "can't be used" not in site.logs()
