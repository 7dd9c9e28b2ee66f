"""Case 37 with a disk that is really full: under one process on SQLite, and under a PostgreSQL server."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults import arena as arenas
from tests.faults.arena import Arena
from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, prepare_embedded, stopping
from tests.fixtures.services import PostgresServer, ServiceMissing, Services, missing

pytestmark = pytest.mark.slow

SIZE, SERVER_SIZE = "24m", "256m"
LONG = "write_file " + '{"path": "long.txt", "text": "' + "x" * 150_000 + '"}'
SHORT = 'write_file {"path": "short.txt", "text": "short"}'


@contextlib.contextmanager
def mounted(place: Path, size: str) -> Iterator[None]:
    """A file system of its own at this place; the test is skipped where none can be had."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        missing("there is no mount command")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=False)
    if made.returncode:
        missing("this user may not mount a file system of a few megabytes")
    try:
        yield
    finally:
        subprocess.run([umount, "--lazy", place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, SIZE):
        yield place


@pytest.fixture
def site(disk: Path, tmp_path: Path) -> Iterator[Site]:
    """A demo site on that disk; its logs are elsewhere."""
    made = prepare_embedded(disk)
    no_hold(made)
    made.directory = tmp_path
    with stopping(made):
        made.start("serve", [sys.executable, "manage.py", "serve"])
        made.wait_until_ready()
        yield made


def fill_up(disk: Path) -> None:
    """Leave no byte free."""
    ballast = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with contextlib.suppress(OSError):
        while True:
            os.write(ballast, b"\0" * 65536)
    os.close(ballast)


def fill(site: Site, disk: Path) -> None:
    """Leave no byte free, neither on the disk nor in SQLite's write-ahead log."""
    with contextlib.closing(sqlite3.connect(site.database, timeout=20)) as database:
        busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy
    fill_up(disk)


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")


def test_37_a_full_disk_refuses_what_it_cannot_store_and_recovers(site: Site, disk: Path) -> None:
    alice, rita = Person.at(site, "alice"), Person.at(site, "rita")
    run = alice.submit(SHORT)
    gate = rita.gate_of(run)
    before = len(site.logs())
    with contextlib.closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True)) as database:
        runs = database.execute("SELECT count(*) FROM agents_run").fetchone()
        decisions = database.execute("SELECT count(*) FROM approvals_decision").fetchone()

    def nothing_fits() -> bool:
        fill(site, disk)
        return refused(rita.decide(gate, "approve"))

    eventually(nothing_fits, within=60, what="a refused decision")
    with pytest.raises(AssertionError, match="503"):
        alice.submit(LONG)
    assert rita.get("/queue/")
    assert alice.run(run)["state"] == "waiting"
    with contextlib.closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True)) as database:
        assert database.execute("SELECT count(*) FROM approvals_decision").fetchone() == decisions
        assert database.execute("SELECT count(*) FROM agents_run").fetchone() == runs
    assert httpx.get(f"{site.url}/healthz", timeout=10).status_code == 200

    full = "the database can't be used (SQLITE_FULL)"
    assert site.logs()[before:].count(f"{full}: a request was answered with 503") >= 2
    eventually(lambda: f"{full}: the sweep waits" in site.logs(), within=30, what="a sweep that says why it waits")

    (disk / "ballast").unlink()
    eventually(lambda: rita.decide(gate, "approve").status_code == 200, within=30, what="a decision that is stored")
    alice.run_in(run, "succeeded")
    assert "Traceback" not in site.logs()[before:]
    with contextlib.closing(sqlite3.connect(site.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture
def server() -> Iterator[tuple[PostgresServer, Path]]:
    """A PostgreSQL server on a disk of its own, which is not full yet."""
    place = Path(tempfile.mkdtemp(prefix="routekit-pg-"))
    try:
        with mounted(place, SERVER_SIZE):
            try:
                made = PostgresServer(place)
            except ServiceMissing as reason:
                missing(str(reason))
            with (place / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
                settings.write("max_wal_size = 48MB\nmin_wal_size = 32MB\n")
            made.start()
            try:
                yield made, place
            finally:
                made.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def stored(arena: Arena, gate: str) -> bool:
    return arena.ask("SELECT count(*) FROM approvals_decision WHERE gate_id = %s", gate) == [(1,)]


def test_37_a_full_disk_under_postgresql_loses_nothing_and_recovers(
    server: tuple[PostgresServer, Path], services: Services, tmp_path: Path
) -> None:
    postgres, place = server
    with arenas.arena(Services(postgres.url, services.redis_url), tmp_path) as arena:
        alice, rita = arena.person("alice"), arena.person("rita")
        runs = [arena.submit() for _ in range(8)]
        for run in runs:
            arena.waits(run)
        gates = [(str(gate), tool) for gate, tool in arena.ask("SELECT id, tool FROM approvals_approvalgate")]
        forms = [rita.decision_form({"id": gate, "tool": tool}, "approve") for gate, tool in gates]

        def nothing_fits() -> bool:
            fill_up(place)
            form = alice.job_form("word " * 40_000)
            return refused(alice.post("/jobs/new/", form, json=True))

        eventually(nothing_fits, within=60, what="a refused job")
        answers = [
            rita.post(f"/queue/{gate}/decide/", form, json=True) for (gate, _), form in zip(gates, forms, strict=True)
        ]
        assert all(answer.status_code == 200 or refused(answer) for answer in answers)
        taken = {gate for (gate, _), answer in zip(gates, answers, strict=True) if answer.status_code == 200}
        arena.acknowledged |= dict.fromkeys(taken, "approve")
        (place / "ballast").unlink()
        postgres.revive()
        eventually(lambda: rita.client.get("/queue/").status_code == 200, within=60, what="the queue")
        assert {gate for gate, _ in gates if stored(arena, gate)} >= taken
        for run in runs:
            assert arena.ends(run, within=90) == "succeeded"
        arena.settle()
        assert arena.faults() == []
