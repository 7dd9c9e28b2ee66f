"""A backup is restored by the very commands of docs/how-to/back-up-and-restore.md: all is there, and still guarded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.errors import IntegrityConstraintViolation

from tests.fixtures.compose import PROJECT
from tests.fixtures.migrated import migrated_database
from tests.fixtures.processes import Site, prepare_stack
from tests.fixtures.services import Services, missing

PAGE = PROJECT / "docs" / "how-to" / "back-up-and-restore.md"
_IN_CONTAINER = re.compile(
    r"^    docker compose (?:exec -T|run --rm -T --no-deps) (?:postgres|worker) (?P<line>.+)$", re.MULTILINE
)


def commands(site: Site) -> list[str]:
    """The commands of the page, without their containers, for the site's own database and folder."""
    database = urlsplit(site.environment["DATABASE_URL"])
    name, folder = database.path.lstrip("/"), site.environment["ROUTEKIT_DATA_DIR"]
    found = [line for line in _IN_CONTAINER.findall(PAGE.read_text(encoding="utf-8")) if "manage.py" not in line]
    own = [re.sub(r"(?<=-U )routekit\b", database.username or "postgres", line) for line in found]
    own = [re.sub(r"(?<![./\w])routekit(?![./\w])", name, line) for line in own]
    return [line.replace("/var/lib/routekit", folder) for line in own]


def give(site: Site, line: str, where: Path) -> None:
    database = urlsplit(site.environment["DATABASE_URL"])
    server = {
        "PGHOST": database.hostname or "",
        "PGPORT": str(database.port or 5432),
        "PGPASSWORD": database.password or "",
    }
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=where,
        env={**os.environ, **server},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, (line, done.stderr)
    assert "error" not in done.stderr.lower(), (line, done.stderr)


def counts(url: str) -> dict[str, int]:
    """How many rows each table has."""
    with psycopg.connect(url) as database:
        tables = [name for (name,) in database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0] for name in tables}


def test_what_is_restored_is_what_was_there(services: Services, tmp_path: Path) -> None:
    if shutil.which("pg_dump") is None:
        missing("PostgreSQL's client programs are not installed, so nothing can be dumped")
    with migrated_database(services.database_url) as url:
        site = prepare_stack(tmp_path, Services(url, services.redis_url))
        folder = Path(site.environment["ROUTEKIT_DATA_DIR"])
        (folder / "kept.txt").write_text("of an agent", encoding="utf-8")
        site.manage("member", "set", "acme", "rita", "--role", "admin")
        before = counts(url)
        assert before["agents_agent"] > 0
        assert before["traces_ledgerentry"] > 0
        lines = commands(site)
        saving = [line for line in lines if " > " in line]
        restoring = [line for line in lines if " > " not in line]
        assert [len(saving), len(restoring)] == [2, 4]
        for line in saving:
            give(site, line, tmp_path)
        with psycopg.connect(url, autocommit=True) as database:
            # What happened after the backup, and what a newer release may have added to the database.
            database.execute("TRUNCATE agents_agent CASCADE")
            database.execute("CREATE TABLE of_a_newer_release (id integer)")
        (folder / "kept.txt").unlink()
        for line in restoring:
            give(site, line, tmp_path)
        assert counts(url) == before
        assert (folder / "kept.txt").read_text(encoding="utf-8") == "of an agent"
        for command in ("verify_ledger", "verify_approvals"):
            assert "acme: " in site.manage(command).stdout
        with psycopg.connect(url) as database, pytest.raises(IntegrityConstraintViolation, match="append-only"):
            database.execute("DELETE FROM traces_ledgerentry")
