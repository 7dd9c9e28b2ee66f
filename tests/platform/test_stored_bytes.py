"""What the database keeps of a run: nothing that no query needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.migrated import migrated_database
from tests.fixtures.processes import prepare_stack
from tests.fixtures.services import Services

# Those that grow with each run.
TABLES = [
    "agents_run",
    "agents_modelreply",
    "agents_toolcall",
    "approvals_approvalgate",
    "approvals_decision",
    "approvals_recordedcall",
    "traces_trace",
    "traces_traceevent",
    "traces_feedentry",
    "traces_ledgerentry",
]
INDEXES = """
SELECT x.indrelid::regclass::text, x.indexrelid::regclass::text, string_to_array(x.indkey::text, ' '), x.indisunique,
    x.indpred IS NULL, pg_get_indexdef(x.indexrelid) LIKE '%%\\_ops%%'
FROM pg_index x WHERE x.indrelid = ANY(%s::regclass[]) AND x.indexprs IS NULL
"""


@pytest.fixture(scope="module")
def database(services: Services) -> Iterator[psycopg.Connection]:
    """A connection to a migrated database."""
    with migrated_database(services.database_url) as url, psycopg.connect(url) as connection:
        yield connection


def test_no_index_is_one_that_another_begins_with(database: psycopg.Connection) -> None:
    found = database.execute(INDEXES, [TABLES]).fetchall()
    plain = [
        (table, name, columns, unique)
        for table, name, columns, unique, whole, special in found
        if whole and not special
    ]
    covered = [
        f"{name} is the beginning of {other}"
        for table, name, columns, unique in plain
        for its_table, other, its_columns, _unique in plain
        if table == its_table and name != other and not unique and its_columns[: len(columns)] == columns
    ]
    assert covered == []


def test_no_text_is_indexed_once_more_for_like(database: psycopg.Connection) -> None:
    found = database.execute(INDEXES, [TABLES]).fetchall()
    assert [name for _, name, *_ in found if name.endswith("_like")] == []


# One run that waits, of the calculator, without its indexes. It was 7,600 when events kept their words and each said
# again what stands beside it.
ROW_BYTES = 4_900
WAITING = """
from agents import queue, tasks
from agents.models import Run
from bench.durability.driver import Office
queue._publish = lambda run, after: None
run = Office().submit()
tasks.advance_run(run_id=str(run.pk))
print(Run.objects.get(pk=run.pk).state)
"""


def test_a_waiting_run_takes_so_many_bytes_and_no_more(services: Services, tmp_path: Path) -> None:
    with migrated_database(services.database_url) as url:
        site = prepare_stack(tmp_path, Services(url, services.redis_url))
        found: dict[str, int] = {}
        with psycopg.connect(url, autocommit=True) as connection:

            def counted() -> dict[str, int]:
                queries = [
                    f"SELECT '{table}', coalesce(sum(pg_column_size(t.*)), 0)::int FROM {table} t" for table in TABLES
                ]
                return dict(connection.execute(" UNION ALL ".join(queries)).fetchall())

            before = counted()
            assert site.manage("shell", "--no-imports", "--command", WAITING).stdout.strip() == "waiting"
            found = {table: size - before[table] for table, size in counted().items()}
    assert min(found[table] for table in ("agents_run", "approvals_approvalgate", "traces_traceevent")) > 0
    assert sum(found.values()) <= ROW_BYTES, found
