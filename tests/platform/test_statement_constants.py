"""Constants that stand in the text of a statement: whatever the value, the database reads back that very value."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routekit_site.tenancy.statements import _with_constants

HOSTILE = (
    "' OR '1'='1",
    "pending'; DROP TABLE x; --",
    "pending -- the rest",
    "a''b",
    "a\\'b",
    "%s",
    "100%",
    "$1",
    "a\0b",
    "pending\n",
    "\u02bc",
    "\uff07 or 1=1",
    "\u0660",
    "",
)
VALUES = st.one_of(
    st.text(),
    st.sampled_from(HOSTILE),
    st.text(alphabet="az09_ .:-'\"\\%$;/*\n", max_size=12),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.none(),
)


def read_back(values: list[object]) -> tuple[object, ...]:
    """What a database makes of a statement with these constants; `100%%` stands for a percent sign of its own."""
    sql, left = _with_constants(f"SELECT '100%%', {', '.join(['%s'] * len(values))}", values)
    with sqlite3.connect(":memory:") as database:
        (row,) = database.execute(sql.replace("%s", "?").replace("%%", "%"), left).fetchall()
    percent, *found = row
    assert percent == "100%"
    return tuple(found)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_what_is_written_out_is_read_back(values: list[object]) -> None:
    assert read_back(values) == tuple(values)


@pytest.mark.parametrize("value", [text for text in HOSTILE if text not in {"", "pending -- the rest"}])
def test_what_would_need_quoting_stays_a_value(value: str) -> None:
    assert _with_constants("SELECT %s", [value]) == ("SELECT %s", (value,))


def test_words_and_numbers_are_written_out() -> None:
    assert _with_constants("x = %s AND y = %s AND z LIKE 'a%%'", ["in progress", 7]) == (
        "x = 'in progress' AND y = 7 AND z LIKE 'a%%'",
        (),
    )
