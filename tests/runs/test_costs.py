"""What a run costs: statements for each stretch of a round trip, and for a step however long the run has grown."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.errors import StateChanged
from agents.models import ModelReply, ToolCall
from agents.runs.transcript import Answer, messages_of
from agents.states import RunState
from routekit_site.tenancy.encryption import seal
from tests.runs.conftest import Bench

# On SQLite, whose clock costs no statement; without those that open and close transactions.
SUBMIT, TO_THE_GATE, DECIDE, TO_THE_END = 9, 23, 14, 44


def statements(captured: CaptureQueriesContext) -> list[str]:
    sent = (query["sql"] for query in captured.captured_queries)
    return [sql for sql in sent if not sql.startswith(("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE"))]


def test_a_round_trip_costs_so_many_statements_and_no_more(bench: Bench) -> None:
    warm = bench.approve_all(bench.submit('write_file {"path": "a.txt", "text": "a"}'))
    assert warm.state == RunState.SUCCEEDED
    found: dict[str, list[str]] = {}
    with CaptureQueriesContext(connection) as captured:
        run = bench.submit('write_file {"path": "b.txt", "text": "b"}')
    found["submit"] = statements(captured)
    with CaptureQueriesContext(connection) as captured:
        waiting = bench.advance(run)
    found["to the gate"] = statements(captured)
    assert waiting.state == RunState.WAITING
    gate = bench.gate(run)
    with CaptureQueriesContext(connection) as captured:
        bench.decide(gate)
    found["decide"] = statements(captured)
    with CaptureQueriesContext(connection) as captured:
        ended = bench.advance(run)
    found["to the end"] = statements(captured)
    assert ended.state == RunState.SUCCEEDED
    goals = {"submit": SUBMIT, "to the gate": TO_THE_GATE, "decide": DECIDE, "to the end": TO_THE_END}
    over = {what: sent for what, sent in found.items() if len(sent) > goals[what]}
    counts = {what: len(sent) for what, sent in found.items()}
    assert not over, f"{counts}\n" + "\n".join(sql[:120] for sent in over.values() for sql in sent)


def test_what_is_settled_is_read_once_by_whoever_holds_the_run(bench: Bench) -> None:
    run = bench.go('calculator {"expression": "1 + 1"}\n\ncalculator {"expression": "2 + 2"}')
    assert run.state == RunState.SUCCEEDED
    kept: list[Answer] = []
    first = messages_of(run, kept)
    assert len(kept) == ModelReply.objects.filter(run=run).count() == 3
    ToolCall.objects.filter(run=run).update(result_sealed=seal("another result"))
    assert messages_of(run, kept) == first
    with pytest.raises(StateChanged):
        messages_of(run)
