"""What hangs instead of failing: a database that no longer answers, locks that nobody lets go of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from tests.faults.arena import Arena
from tests.faults.invariants import effects
from tests.fixtures.polling import eventually
from tests.fixtures.processes import csrf_token

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def locked(arena: Arena, table: str) -> Iterator[None]:
    """A table that a migration under way keeps everybody from."""
    with psycopg.connect(arena.direct.database_url) as database:
        database.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield
        database.rollback()


def test_65_a_decision_behind_a_locked_table_is_503_and_safe_to_repeat(arena: Arena) -> None:
    run = arena.submit()
    arena.waits(run)
    ((gate, tool),) = arena.ask("SELECT id, tool FROM approvals_approvalgate WHERE run_id = %s", run)
    rita = arena.person("rita")
    form = rita.decision_form({"id": gate, "tool": tool}, "approve")
    with locked(arena, "approvals_decision"):
        answer = rita.post(f"/queue/{gate}/decide/", form, json=True)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")
    assert arena.ask("SELECT count(*) FROM approvals_decision WHERE gate_id = %s", gate) == [(0,)]
    assert rita.post(f"/queue/{gate}/decide/", form, json=True).status_code == 200
    assert arena.ends(run) == "succeeded"
    assert effects(arena.journal)["effect", arena.keys[run]] == 1


def test_a_worker_that_hangs_in_a_transaction_does_not_keep_its_locks(arena: Arena) -> None:
    arena.arm("claim.before_commit", "sleep=30")
    run = arena.submit()
    eventually(lambda: arena.taken("claim.before_commit"), what="a worker hangs with the run's row locked")
    alice = arena.person("alice")
    form = {"csrfmiddlewaretoken": csrf_token(alice.get(f"/runs/{run}/"))}
    answer = alice.post(f"/runs/{run}/cancel/", form, json=True)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")

    def cancelled() -> bool:
        return alice.post(f"/runs/{run}/cancel/", form, json=True).status_code == 200

    eventually(cancelled, within=25, what="the server ends the transaction that hangs")
    assert arena.ends(run) == "cancelled"
    assert arena.ends(arena.submit()) == "succeeded"


def test_a_worker_that_hung_in_a_transaction_goes_on_when_it_wakes_up(arena: Arena) -> None:
    arena.arm("intent.before_commit", "sleep=20")
    run = arena.submit()
    assert arena.ends(run) == "succeeded"
    assert arena.taken("intent.before_commit")
    assert effects(arena.journal)["effect", arena.keys[run]] == 1
    # It was the database's doing, and counts as no crash of the run.
    assert arena.ask("SELECT payload FROM traces_traceevent WHERE trace_id = %s AND kind = 'error'", run) == []


def test_a_tool_is_stopped_when_its_worker_hears_nothing_of_the_database_for_a_lease(arena: Arena) -> None:
    run = arena.submit(linger=20)
    arena.waits(run)
    arena.decide_all()
    eventually(lambda: effects(arena.journal)["effect", arena.keys[run]] == 1, what="the tool's effect")
    worker = arena.site.processes["worker"]
    arena.database.silent = True
    told = f"run {run} is stopped: the database has not answered"
    eventually(lambda: told in worker.log_text(), within=15, what="the call's end")
    arena.database.silent = False
    arena.ends(run)
    ((outcome,),) = arena.ask("SELECT outcome FROM agents_toolcall WHERE run_id = %s", run)
    assert outcome != "succeeded"
    assert effects(arena.journal)["effect", arena.keys[run]] == 1


def test_19_a_broker_that_hangs_holds_no_decision_up(arena: Arena) -> None:
    run = arena.submit()
    arena.waits(run)
    ((gate, tool),) = arena.ask("SELECT id, tool FROM approvals_approvalgate WHERE run_id = %s", run)
    form = arena.person("rita").decision_form({"id": gate, "tool": tool}, "approve")
    arena.broker.silent = True
    answer = arena.person("rita").post(f"/queue/{gate}/decide/", form, json=True)
    assert answer.status_code == 200
    arena.broker.silent = False
    assert arena.ends(run) == "succeeded"
