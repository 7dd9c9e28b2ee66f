"""Case 64: runs that slept over upgrades, as the releases of then wrote them; today's code takes them up."""

from __future__ import annotations

import contextlib
import lzma
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.environment import clean_environment
from tests.fixtures.migrated import SQLITE_NAME
from tests.fixtures.people import FINISHED, Person
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, stopping
from tests.fixtures.releases import make
from tests.fixtures.services import free_port

pytestmark = pytest.mark.slow

RELEASES = sorted(Path(make.__file__).parent.glob("*.sql.xz"))


def ask(site: Site, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Rows of the site's database."""
    with contextlib.closing(sqlite3.connect(f"file:{site.database}?mode=ro", uri=True, timeout=20)) as database:
        return database.execute(sql, parameters).fetchall()


def restore(release: Path, database: Path) -> dict[str, str]:
    """Unpack a release's database, its clocks set as if people had been asked today; the runs by their keys."""
    with contextlib.closing(sqlite3.connect(database)) as made:
        made.executescript(lzma.decompress(release.read_bytes()).decode())
        runs = dict(made.execute("SELECT idempotency_key, id FROM agents_run").fetchall())
        soon = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%d %H:%M:%S.%f")
        for column, key in (("decide_by", "waits"), ("execute_by", "approved")):
            made.execute(f"UPDATE approvals_approvalgate SET {column} = ? WHERE run_id = ?", [soon, runs[key]])
        # As long as the release is old.
        over = "strftime('%Y-%m-%d %H:%M:%f', opened_at, '+1 second')"
        made.execute(f"UPDATE approvals_approvalgate SET decide_by = {over} WHERE run_id = ?", [runs["late"]])
        made.commit()
    return runs


@pytest.fixture(params=RELEASES, ids=lambda path: path.name.split(".")[0])
def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Site, dict[str, str]]]:
    """A site of today on the database of a release, and the runs that slept in it."""
    data, port = tmp_path / "var", free_port()
    environment = clean_environment(
        {"ROUTEKIT_DEMO": "1", "ROUTEKIT_DATA_DIR": str(data), "ROUTEKIT_BIND": f"127.0.0.1:{port}"}
    )
    site = Site(url=f"http://127.0.0.1:{port}", environment=environment, directory=tmp_path)
    make.put_keys(data)
    runs = restore(request.param, data / SQLITE_NAME)
    site.manage("migrate", "--verbosity", "0")
    with stopping(site):
        site.start("serve", [sys.executable, "manage.py", "serve"])
        site.wait_until_ready()
        yield site, runs


def test_64_a_run_that_slept_over_upgrades_goes_on_or_says_why_not(upgraded: tuple[Site, dict[str, str]]) -> None:
    site, runs = upgraded
    rita = Person.at(site, "rita")

    def over() -> bool:
        for gate in rita.waiting():
            rita.decide(gate, "approve")
        return {state for (state,) in ask(site, "SELECT state FROM agents_run")} <= FINISHED

    eventually(over, within=90, what="the end of every run")
    found = {
        key: ask(site, "SELECT state, error_kind, crashes FROM agents_run WHERE id = ?", run)[0]
        for key, run in runs.items()
    }
    assert found == dict.fromkeys(runs, ("succeeded", "", 0)), site.logs()[-4000:]
    calls = "SELECT state FROM agents_toolcall WHERE run_id = ? AND tool = 'current_time'"
    assert ask(site, calls, runs["waits"]) == [("succeeded",)]
    assert ask(site, calls, runs["approved"]) == [("succeeded",)]
    assert ask(site, calls, runs["late"]) == [("expired",)]
    assert "Traceback" not in site.logs()
    site.manage("verify_ledger")
    site.manage("verify_approvals")
