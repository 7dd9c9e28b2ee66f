"""Deciding costs few statements: it is what reviewers wait for."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.fixtures.gates import House

# Gate (lock), membership, decisions, redaction policy, hold; decision, gate; trace head (lock, then all that is new in
# it), event; the tenant's numbers, ledger entry and its hash, feed entry.
DECIDE = 14


def domain_statements(captured: CaptureQueriesContext) -> list[str]:
    """The statements without those that open and close the transaction."""
    sent = (query["sql"] for query in captured.captured_queries)
    return [sql for sql in sent if not sql.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))]


def test_a_decision_costs_at_most_fourteen_statements_however_many_gates_there_are(house: House) -> None:
    for _ in range(20):
        house.open()
    opened = house.open()
    ballot = opened.ballot("reject", reason="no")
    with CaptureQueriesContext(connection) as captured:
        house.decide(opened, house.cast.rita, ballot)
    assert len(domain_statements(captured)) <= DECIDE, "\n".join(domain_statements(captured))
    with CaptureQueriesContext(connection) as repeated:
        house.decide(opened, house.cast.rita, ballot)
    assert len(domain_statements(repeated)) == 3


def test_a_redemption_costs_at_most_eight_statements(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    with CaptureQueriesContext(connection) as captured:
        house.redeem(opened)
    assert len(domain_statements(captured)) <= 8, "\n".join(domain_statements(captured))


def test_closing_gates_costs_no_query_a_gate_beyond_its_own_rows(house: House, settings: Any) -> None:
    del settings
    for _ in range(5):
        house.open()
    with CaptureQueriesContext(connection) as captured:
        house.sweep(after=3600)
    # One select for each clock; the gate and its trace's head (lock, number); the events, the feed's numbers, entries.
    assert len(domain_statements(captured)) <= 2 + 5 * 3 + 3
