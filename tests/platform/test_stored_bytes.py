"""What the database keeps of a run: nothing that no query needs."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.migrated import migrated_database
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
