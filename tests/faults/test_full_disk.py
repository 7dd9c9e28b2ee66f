"""Case 37 with a disk that is really full: one process on SQLite, in a file system of a few megabytes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, prepare_embedded, stopping
from tests.fixtures.services import missing

pytestmark = pytest.mark.slow

SIZE = "24m"
LONG = "write_file " + '{"path": "long.txt", "text": "' + "x" * 150_000 + '"}'
SHORT = 'write_file {"path": "short.txt", "text": "short"}'


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not mount or not umount:
        missing("there is no mount command")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], check=False)
    if made.returncode:
        missing("this user may not mount a file system of a few megabytes")
    try:
        yield place
    finally:
        subprocess.run([umount, "--lazy", place], check=True)


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


def fill(site: Site, disk: Path) -> None:
    """Leave no byte free, neither on the disk nor in SQLite's write-ahead log."""
    with contextlib.closing(sqlite3.connect(site.database, timeout=20)) as database:
        busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not busy
    ballast = os.open(disk / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with contextlib.suppress(OSError):
        while True:
            os.write(ballast, b"\0" * 65536)
    os.close(ballast)


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
