"""Workers die, bells get lost, clocks run out: nothing is lost and nothing runs twice in silence."""

from __future__ import annotations

import copy
import errno
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from threading import Event
from typing import Any, Self

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from agents import execution, runs, tasks
from agents.errors import LeaseLost, RunFinished
from agents.execution import Failed, FailureKind, Job, Outcome
from agents.models import Agent, Run, ToolCall
from agents.runs import lease, pulse, sweeping
from agents.sandbox import door, launch
from agents.sandbox.outcome import Succeeded, Tier
from agents.states import CallState, RunState
from approvals import gates, redemption, rules
from approvals.models import ApprovalGate, ApprovalGateQuerySet, Decision
from approvals.states import GateState
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.heartbeats import FULL_SWEEP, turn
from routekit_site.tenancy.models import Heartbeat
from tests.runs.conftest import Bench, allow
from traces import ledger
from traces.kinds import EventKind
from traces.models import LedgerEntry

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'


class WorkerKilled(BaseException):
    """Stands for SIGKILL: nothing that catches ordinary errors sees it."""


@pytest.fixture
def killed_in_tool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Kill the worker in the next tool call, before or after the tool did its work."""

    def arm(*, after_effect: bool) -> None:
        real = execution.run_all

        def dying(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
            monkeypatch.setattr(execution, "run_all", real)
            if after_effect:
                real(jobs, stop)
            raise WorkerKilled

        monkeypatch.setattr(execution, "run_all", dying)

    return arm


def lose_worker(bench: Bench, run: Run) -> Run:
    """Advance with a worker that dies, then let its lease run out."""
    with pytest.raises(WorkerKilled):
        bench.advance(run)
    run = bench.fresh(run)
    assert run.state == RunState.RUNNING
    assert bench.advance(run).fence == run.fence, "a run that is held is left alone"
    Run.objects.filter(pk=run.pk).update(lease_until=database_now())
    return run


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_person_is_asked_about_a_call_that_may_have_happened(
    bench: Bench, killed_in_tool: Callable[..., None], *, after_effect: bool
) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    killed_in_tool(after_effect=after_effect)
    lose_worker(bench, run)

    run = bench.advance(run)
    assert run.state == RunState.WAITING
    (call,) = bench.calls(run)
    assert call.state == CallState.UNKNOWN
    gate = bench.gate(run)
    assert "did NOT take effect" in str(gate.presentation["change"])

    if after_effect:
        bench.decide(gate, "reject", "It is there already")
        run = bench.advance(run)
        (call,) = bench.calls(run)
        assert (call.state, call.attempts) == (CallState.FAILED, 1)
        assert "assume that it happened" in bench.told(run)[0]
        assert "It is there already" in bench.told(run)[0]
    else:
        bench.decide(gate)
        run = bench.advance(run)
        (call,) = bench.calls(run)
        assert (call.state, call.attempts) == (CallState.SUCCEEDED, 2)
    assert run.state == RunState.SUCCEEDED
    assert (bench.folder / "summary.txt").read_text() == "All is well."
    states = [
        ledger.facts_of(entry)["state"] for entry in LedgerEntry.objects.filter(kind="execution").order_by("number")
    ]
    assert states[0] == "unknown"
    assert ledger.verify(bench.cast.acme.pk) == []


@pytest.mark.parametrize("mode", [AllowanceMode.ALLOW, AllowanceMode.BY_PERMISSION])
def test_an_idempotent_call_is_simply_run_again(
    bench: Bench, killed_in_tool: Callable[..., None], mode: AllowanceMode
) -> None:
    allow(bench.cast.acme.pk, "read_file", mode)
    run = bench.submit('read_file {"path": "notes.txt"}')
    if mode is AllowanceMode.BY_PERMISSION:
        bench.advance(run)
        bench.decide(bench.gate(run))
    killed_in_tool(after_effect=True)
    lose_worker(bench, run)
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state, call.attempts) == (RunState.SUCCEEDED, CallState.SUCCEEDED, 2)
    assert ApprovalGate.objects.filter(state=GateState.PENDING).count() == 0


def test_a_worker_that_slept_past_its_lease_writes_nothing(bench: Bench) -> None:
    run = bench.submit(WRITE)
    with transaction.atomic():
        sleeper = lease.claim(run.id, "sleeper")
    assert sleeper is not None
    Run.objects.filter(pk=run.pk).update(lease_until=database_now())
    with transaction.atomic():
        awake = lease.claim(run.id, "awake")
    assert awake is not None
    with pytest.raises(LeaseLost), transaction.atomic():
        lease.lock(sleeper)
    assert sleeper.stop()
    with transaction.atomic():
        locked, _ = lease.lock(awake)
    assert locked.fence == sleeper.fence + 1


def test_a_poison_run_is_given_up_after_three_crashes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(_jobs: Sequence[Job], _stop: Callable[[], bool]) -> list[Outcome]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(execution, "run_all", explode)
    run = bench.submit('read_file {"path": "notes.txt"}')
    for _ in range(3):
        run = bench.advance(run)
        Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(wake_at=database_now())
    assert (run.state, run.error_kind) == (RunState.FAILED, "crashed")
    assert "secret detail" not in run.error_message
    assert "RuntimeError" in run.error_message


def test_killed_workers_count_as_crashes(bench: Bench) -> None:
    run = bench.submit(WRITE)
    for _ in range(3):
        with transaction.atomic():
            assert lease.claim(run.id, "doomed") is not None
        Run.objects.filter(pk=run.pk).update(lease_until=database_now())
    run = bench.advance(run)
    assert (run.state, run.error_kind) == (RunState.FAILED, "crashed")


def test_a_retryable_failure_of_an_idempotent_tool_is_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = execution.run_all, []

    def flaky(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
        tries.append(1)
        if len(tries) < 3:
            return [Failed(FailureKind.TIMEOUT, "Too slow.", retryable=True, tier=Tier.T1) for _ in jobs]
        return real(jobs, stop)

    monkeypatch.setattr(execution, "run_all", flaky)
    run = bench.submit('read_file {"path": "notes.txt"}')
    for _ in range(3):
        run = bench.advance(run)
        assert run.leased_by is None, "no worker is held while a run waits for its next try"
        Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(wake_at=database_now())
    assert run.state == RunState.SUCCEEDED
    assert bench.calls(run)[0].attempts == 3
    assert bench.events(run).count("tool.retry") == 2


def test_a_timed_out_write_is_not_repeated(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(jobs: Sequence[Job], _stop: Callable[[], bool]) -> list[Outcome]:
        return [Failed(FailureKind.TIMEOUT, "Too slow.", retryable=True, tier=Tier.T1) for _ in jobs]

    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    monkeypatch.setattr(execution, "run_all", slow)
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state, call.attempts) == (RunState.SUCCEEDED, CallState.FAILED, 1)


@pytest.fixture
def unready(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No process can be started for the sandbox, until this is undone."""
    with monkeypatch.context() as patch:
        door.stop()
        patch.setattr(launch, "python", lambda: "/nonexistent/python")
        yield patch


def due(run: Run) -> None:
    """Its pause is over."""
    Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(wake_at=database_now())


def told_of_change(gate: ApprovalGate) -> list[str]:
    """What the reviewer of a gate that asks again is told has changed."""
    return [each["fact"] for each in (gate.change or {}).get("differences", [])]


@pytest.mark.parametrize("mode", [AllowanceMode.ALLOW, AllowanceMode.BY_PERMISSION])
def test_a_call_that_never_started_has_its_first_run_later_and_asks_nobody_again(
    bench: Bench, unready: pytest.MonkeyPatch, mode: AllowanceMode
) -> None:
    allow(bench.cast.acme.pk, "write_file", mode)
    run = bench.submit(WRITE)
    if mode is AllowanceMode.BY_PERMISSION:
        bench.advance(run)
    for gate in bench.gates(run):
        bench.decide(gate)
    for tries in (1, 2):
        run = bench.advance(run)
        (call,) = bench.calls(run)
        assert (run.state, run.leased_by, call.state) == (RunState.QUEUED, None, CallState.PERMITTED)
        assert (call.attempts, call.outcome) == (tries, "not_started")
        due(run)
    unready.undo()
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state, call.attempts) == (RunState.SUCCEEDED, CallState.SUCCEEDED, 3)
    assert (bench.folder / "summary.txt").exists()
    assert ApprovalGate.objects.filter(run_id=run.id).count() == (mode is AllowanceMode.BY_PERMISSION)


def no_sockets(patch: pytest.MonkeyPatch) -> None:
    """The sandbox is gone, and to start it again there are no descriptors."""
    door.stop()
    patch.setattr(socket, "socketpair", raising(OSError(errno.EMFILE, "Too many open files")))


def no_descriptors(patch: pytest.MonkeyPatch) -> None:
    """The sandbox's next process comes with fewer descriptors than it was sent with."""
    whole = socket.recv_fds

    def cut(*arguments: Any) -> Any:
        message, fds, flags, address = whole(*arguments)
        for fd in fds[1:]:
            os.close(fd)
        return message, fds[:1], flags, address

    patch.setattr(socket, "recv_fds", cut)


def no_subprocess(patch: pytest.MonkeyPatch) -> None:
    """The kernel confines nothing here, and no process can be started."""
    door.start(ceiling=Tier.T0)
    patch.setattr(launch, "python", lambda: "/nonexistent/python")


def no_time(patch: pytest.MonkeyPatch) -> None:
    """By the time that the sandbox is ready, the permit has run out."""
    patch.setattr(redemption, "PERMIT_SECONDS", 0)


def raising(error: Exception) -> Callable[..., Any]:
    """A function that raises this."""

    def refuse(*_arguments: Any) -> None:
        raise error

    return refuse


@pytest.mark.parametrize("lack", [no_sockets, no_descriptors, no_subprocess, no_time])
def test_a_call_for_which_the_machine_lacks_something_has_not_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, settings: Any, lack: Callable[[pytest.MonkeyPatch], None]
) -> None:
    settings.ROUTEKIT_SANDBOX_REQUIRE = "best_effort"
    execution.warm()
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    try:
        with monkeypatch.context() as patch:
            lack(patch)
            run = bench.advance(run)
            (call,) = bench.calls(run)
        assert (run.state, call.state, call.outcome) == (RunState.QUEUED, CallState.PERMITTED, "not_started")
        due(run)
        run = bench.advance(run)
        assert (run.state, bench.calls(run)[0].state) == (RunState.SUCCEEDED, CallState.SUCCEEDED)
    finally:
        door.start(ceiling=Tier.T2)


@pytest.mark.parametrize("used", [1, 0], ids=["runs in the end", "never runs"])
def test_a_call_that_never_started_uses_up_no_remembered_rule(
    bench: Bench, unready: pytest.MonkeyPatch, used: int
) -> None:
    gate = bench.gate(bench.go(WRITE))
    bench.decide(gate)
    with transaction.atomic():
        once = rules.RuleChoice(rules.Reach.SIMILAR, max_uses=1)
        rule = rules.make_rule(gate.pk, bench.cast.rita, once, now=database_now())
    run = bench.go(WRITE)
    due(run)
    if used:
        unready.undo()
    for _ in range(3):
        run = bench.advance(run)
        due(run)
    rule.refresh_from_db()
    assert (run.state, bench.gates(run), rule.uses) == (RunState.SUCCEEDED, [], used)
    assert (bench.folder / "summary.txt").exists() is bool(used)


def test_a_call_that_never_starts_fails_in_the_end(bench: Bench, unready: pytest.MonkeyPatch) -> None:
    assert unready
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    for _ in range(4):
        run = bench.advance(run)
        due(run)
    (call,) = bench.calls(run)
    assert (call.state, call.outcome, call.attempts) == (CallState.FAILED, "sandbox_error", 4)
    assert "nothing was run" in bench.told(run)[0]


def test_a_call_that_never_started_is_asked_about_again_when_it_is_another_by_now(
    bench: Bench, unready: pytest.MonkeyPatch
) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    assert bench.calls(run)[0].outcome == "not_started"
    due(run)
    unready.undo()
    (bench.folder / "summary.txt").write_text("Somebody else wrote this meanwhile.", encoding="utf-8")
    run = bench.advance(run)
    assert (run.state, len(bench.gates(run))) == (RunState.WAITING, 1)
    assert told_of_change(bench.gate(run)) == ["context"]
    assert "meanwhile" in (bench.folder / "summary.txt").read_text(encoding="utf-8")


def test_a_call_that_never_started_is_asked_about_again_when_its_approval_has_run_out(
    bench: Bench, unready: pytest.MonkeyPatch
) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    assert bench.calls(run)[0].outcome == "not_started"
    due(run)
    unready.undo()
    ApprovalGate.objects.filter(run_id=run.id).update(execute_by=database_now())
    run = bench.advance(run)
    assert (run.state, len(bench.gates(run))) == (RunState.WAITING, 1)
    assert told_of_change(bench.gate(run)) == ["execute_by"]
    assert not (bench.folder / "summary.txt").exists()


@pytest.mark.parametrize(
    "forgery",
    [
        lambda gates: Decision.objects.filter(gate__in=gates).update(reason="another"),
        lambda gates: Decision.objects.filter(gate__in=gates).delete(),
        lambda gates: gates.update(view_digest="0" * 64),
    ],
    ids=["decision changed", "decision gone", "view changed"],
)
def test_a_late_first_run_is_held_to_all_that_an_approval_is_held_to(
    bench: Bench, unready: pytest.MonkeyPatch, forgery: Callable[[ApprovalGateQuerySet], object]
) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    assert bench.calls(run)[0].outcome == "not_started"
    due(run)
    unready.undo()
    forgery(ApprovalGate.objects.filter(run_id=run.id))
    run = bench.advance(run)
    assert not (bench.folder / "summary.txt").exists()
    assert (run.state, len(bench.gates(run))) == (RunState.WAITING, 1)
    assert EventKind.VIOLATION in bench.events(run)


@pytest.mark.parametrize(("method", "attempts"), [("GET", 2), ("HEAD", 2), ("POST", 1), ("DELETE", 1)])
def test_a_fetch_is_repeated_and_what_may_change_something_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, method: str, attempts: int
) -> None:
    tries: list[int] = []

    def flaky(jobs: Sequence[Job], _stop: Callable[[], bool]) -> list[Outcome]:
        tries.append(len(jobs))
        if len(tries) == 1:
            return [Failed(FailureKind.NETWORK_ERROR, "The connection broke.", retryable=True, tier=Tier.T1)]
        answer = {"status": 200, "url": "https://a.example/", "content_type": "", "text": "", "truncated": False}
        return [Succeeded(answer, Tier.T1)]

    monkeypatch.setattr(execution, "run_all", flaky)
    allow(bench.cast.acme.pk, "http_request", AllowanceMode.BY_PERMISSION)
    run = bench.go(f'http_request {{"url": "https://a.example/", "method": "{method}"}}')
    bench.decide(bench.gate(run))
    for _ in range(2):
        run = bench.advance(run)
        Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(wake_at=database_now())
    (call,) = bench.calls(run)
    assert (run.state, call.attempts, len(tries)) == (RunState.SUCCEEDED, attempts, attempts)
    assert bench.events(run).count("tool.retry") == attempts - 1


@pytest.mark.parametrize(("method", "asked"), [("GET", False), ("POST", True)])
def test_a_lost_worker_s_fetch_is_repeated_and_anything_else_is_asked_about(
    bench: Bench, killed_in_tool: Callable[..., None], method: str, *, asked: bool
) -> None:
    allow(bench.cast.acme.pk, "http_request", AllowanceMode.BY_PERMISSION)
    run = bench.go(f'http_request {{"url": "https://a.example/", "method": "{method}"}}')
    bench.decide(bench.gate(run))
    killed_in_tool(after_effect=False)
    lose_worker(bench, run)
    run = bench.advance(run)
    assert (bench.calls(run)[0].state == CallState.UNKNOWN) is asked
    assert ApprovalGate.objects.filter(state=GateState.PENDING).exists() is asked


def five_seconds_pass() -> None:
    """Make all that has happened to runs and gates older than the bells that it rang."""
    passed = timedelta(seconds=5)
    Run.objects.update(created_at=F("created_at") - passed)
    ApprovalGate.objects.update(hold_until=F("hold_until") - passed, closed_at=F("closed_at") - passed)


def test_the_sweep_rings_for_lost_bells_once(bench: Bench) -> None:
    queued, waiting, decided = bench.submit("hello"), bench.go(WRITE), bench.go(WRITE.replace("summary", "other"))
    bench.decide(bench.gate(decided))
    abandoned = bench.submit("hello")
    with transaction.atomic():
        lease.claim(abandoned.id, "dead")
    Run.objects.filter(pk=abandoned.pk).update(lease_until=database_now())
    five_seconds_pass()
    bench.rung.clear()
    assert runs.sweep() == 3
    assert runs.sweep() == 0
    assert set(bench.rung) == {queued.pk, decided.pk, abandoned.pk}
    assert waiting.pk not in bench.rung
    Run.objects.update(rung_at=database_now() - sweeping.RING_AGAIN_AFTER)
    assert runs.sweep() == 3


def test_the_quick_sweep_finds_what_was_answered_lately(bench: Bench) -> None:
    run, rejected = bench.go(WRITE), bench.go(WRITE.replace("summary", "other"))
    five_seconds_pass()
    runs.sweep()
    assert not sweeping._full_sweep.due()
    bench.decide(bench.gate(run))
    bench.decide(bench.gate(rejected), "reject")
    bench.rung.clear()
    assert runs.sweep() == 0, "their own bells have just been rung"
    five_seconds_pass()
    assert runs.sweep() == 2
    assert set(bench.rung) == {run.pk, rejected.pk}


@pytest.fixture
def look_at_all(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Sweep as the process whose turn it is to look at all runs that wait."""

    def sweep() -> int:
        monkeypatch.setattr(sweeping, "_full_sweep", sweeping._Every(0.0))
        Heartbeat.objects.filter(name=FULL_SWEEP).delete()
        return runs.sweep()

    return sweep


def an_hour_passes() -> None:
    """All sweeps were down for an hour."""
    passed = timedelta(hours=1)
    Run.objects.update(created_at=F("created_at") - passed)
    ApprovalGate.objects.update(
        opened_at=F("opened_at") - passed,
        decided_at=F("decided_at") - passed,
        hold_until=F("hold_until") - passed,
        closed_at=F("closed_at") - passed,
    )


def test_a_run_that_was_answered_an_hour_ago_is_found_whatever_the_answer(
    bench: Bench, look_at_all: Callable[[], int]
) -> None:
    names = ["approved", "rejected", "expired", "waits", "lapsed"]
    waiting = {name: bench.go(WRITE.replace("summary", name)) for name in names}
    for name, kind in (("approved", "approve"), ("rejected", "reject"), ("lapsed", "approve")):
        bench.decide(bench.gate(waiting[name]), kind)
    ApprovalGate.objects.filter(run_id=waiting["expired"].pk).update(opened_at=database_now() - timedelta(days=8))
    ApprovalGate.objects.filter(run_id=waiting["expired"].pk).update(decide_by=database_now() - timedelta(hours=1))
    ApprovalGate.objects.filter(run_id=waiting["lapsed"].pk).update(execute_by=database_now())
    with transaction.atomic():
        for close in gates.due(database_now()):
            close(database_now(), limit=10)
    an_hour_passes()
    assert sorted(ApprovalGate.objects.values_list("state", flat=True)) == sorted(
        ["approved", "rejected", "expired", "pending", "lapsed"]
    )
    bench.rung.clear()
    assert look_at_all() == 4
    assert set(bench.rung) == {run.pk for name, run in waiting.items() if name != "waits"}


def test_a_look_at_all_runs_goes_on_while_there_are_more_than_one_look_rings_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_full_sweep", sweeping._Every(3600.0))
    run = bench.go(WRITE)
    bench.decide(bench.gate(run), "reject")
    an_hour_passes()
    stored = bench.fresh(run)
    copies = [copy.copy(stored) for _ in range(sweeping.BATCH)]
    for number, each in enumerate(copies):
        each.pk, each.idempotency_key = uuid.uuid4(), f"copy {number}"
    Run.objects.bulk_create(copies)
    assert runs.sweep() == sweeping.BATCH
    assert runs.sweep() == 1
    assert runs.sweep() == 0


def test_a_look_at_all_runs_leaves_those_alone_of_which_something_is_undecided(
    bench: Bench, look_at_all: Callable[[], int]
) -> None:
    both = [bench.go(f"{WRITE}\n{WRITE.replace('summary', 'other')}") for _ in range(2)]
    for run, kind in zip(both, ("approve", "reject"), strict=True):
        bench.decide(bench.gates(run)[0], kind)
    held = {kind: bench.go(WRITE.replace("summary", kind)) for kind in ("approve", "reject")}
    for kind, run in held.items():
        bench.decide(bench.gate(run), kind)
    an_hour_passes()
    still = [run.pk for run in held.values()]
    ApprovalGate.objects.filter(run_id__in=still).update(hold_until=database_now() + timedelta(minutes=1))
    bench.rung.clear()
    assert look_at_all() == 0
    ApprovalGate.objects.filter(run_id__in=still).update(hold_until=database_now() - timedelta(minutes=1))
    assert look_at_all() == 2
    assert set(bench.rung) == set(still)


@pytest.mark.django_db
def test_one_of_all_processes_looks_at_all_runs_each_minute() -> None:
    now, minute = database_now(), timedelta(minutes=1)
    assert [turn("look", now + timedelta(seconds=late), minute) for late in (0, 0, 59, 60, 61, 119, 120)] == [
        True,
        False,
        False,
        True,
        False,
        False,
        True,
    ]
    assert turn("look", now, minute), "a mark from the future holds nobody up"
    assert turn("another", now, minute)


def test_a_process_whose_turn_it_is_not_looks_at_what_was_answered_lately(
    bench: Bench, look_at_all: Callable[[], int]
) -> None:
    look_at_all()
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    five_seconds_pass()
    assert sweeping._full_sweep.due()
    assert runs.sweep() == 1


def test_a_run_with_another_gate_that_waits_is_left_alone(bench: Bench) -> None:
    run = bench.go(f"{WRITE}\n{WRITE.replace('summary', 'other')}")
    first, _second = ApprovalGate.objects.filter(run_id=run.pk).order_by("opened_at")
    five_seconds_pass()
    runs.sweep()
    bench.decide(first)
    five_seconds_pass()
    assert runs.sweep() == 0


def test_a_sweep_that_finds_nothing_writes_nothing_and_fetches_no_finished_run(bench: Bench) -> None:
    runs.sweep()
    finished = [bench.approve_all(bench.submit(WRITE.replace("summary", f"file{each}"))).pk for each in range(3)]
    five_seconds_pass()
    with CaptureQueriesContext(connection) as captured:
        assert runs.sweep() == 0
    sent = [query["sql"] for query in captured.captured_queries]
    assert [sql.split()[0] for sql in sent] == ["SELECT"] * 5
    assert not [sql for sql in sent for run in finished if run.hex in sql]


def test_a_bell_for_nothing_costs_two_looks_and_writes_nothing(bench: Bench) -> None:
    for run in (bench.go("hello"), bench.go(WRITE)):
        with CaptureQueriesContext(connection) as captured:
            runs.advance(run.id, worker="w")
        sent = [query["sql"] for query in captured.captured_queries]
        # The second look is whether a newer worker should have heard the bell.
        assert [sql.split()[0] for sql in sent] == ["BEGIN", "SELECT", "COMMIT", "SELECT"]


def test_a_worker_whose_clock_is_ahead_runs_what_was_permitted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(hours=1)

    monkeypatch.setattr(door, "datetime", Ahead)
    assert bench.approve_all(bench.submit(WRITE)).state == RunState.SUCCEEDED
    assert [call.state for call in bench.calls(Run.objects.get())] == [CallState.SUCCEEDED]
    assert (bench.folder / "summary.txt").exists()


def test_what_people_decide_while_another_call_runs_is_seen_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.submit(f'calculator {{"expression": "1 + 1"}}\n{WRITE}')
    really = execution.run_all

    def deciding(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
        for gate in bench.gates(run):
            bench.decide(gate, "reject", "Not today.")
        return really(jobs, stop)

    monkeypatch.setattr(execution, "run_all", deciding)
    ended = bench.advance(run)
    assert [call.state for call in bench.calls(run)] == [CallState.SUCCEEDED, CallState.REJECTED]
    assert ended.state == RunState.SUCCEEDED


def test_bells_for_nothing_are_ignored(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    done = bench.go("hello")
    assert bench.advance(done).fence == done.fence
    tasks.advance_run(run_id=str(uuid.uuid4()))
    tasks.advance_run(run_id="not a run", newer_field=1)
    assert "is no run" in caplog.text


@pytest.mark.parametrize(
    ("limits", "prompt", "kind", "state"),
    [
        ({"max_steps": 1}, 'calculator {"expression": "1"}', "step_budget", RunState.FAILED),
        ({"max_tokens": 1}, 'calculator {"expression": "1"}', "token_budget", RunState.FAILED),
        (
            {"max_cost_microdollars": 1, "input_price": 10_000_000},
            'calculator {"expression": "1"}',
            "cost_budget",
            RunState.FAILED,
        ),
        ({"time_limit_seconds": 0}, "hello", "time_budget", RunState.TIMED_OUT),
    ],
)
def test_budgets_end_a_run_with_a_plain_message(
    bench: Bench, limits: dict[str, int], prompt: str, kind: str, state: RunState
) -> None:
    Agent.objects.update(**limits)
    run = bench.go(prompt)
    assert (run.state, run.error_kind) == (state, kind)
    assert "its agent may" in run.error_message


def test_the_clock_of_a_run_stops_while_it_waits(bench: Bench) -> None:
    run = bench.go(WRITE)
    before = run.worked_milliseconds
    Run.objects.filter(pk=run.pk).update(waiting_since=F("waiting_since") - timedelta(days=3))
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert run.waited_milliseconds >= 3 * 24 * 3600 * 1000
    assert run.worked_milliseconds - before < 60_000


@pytest.mark.parametrize("waiting", [False, True])
def test_cancelling_a_run_that_nobody_works_on_ends_it_at_once(bench: Bench, *, waiting: bool) -> None:
    run = bench.submit(WRITE)
    if waiting:
        bench.advance(run)
    run = bench.cancel(run)
    assert run.state == RunState.CANCELLED
    assert "alice" in run.error_message
    assert not bench.gates(run)
    assert {call.state for call in bench.calls(run)} <= {CallState.WITHDRAWN}
    assert bench.advance(run).state == RunState.CANCELLED
    with pytest.raises(RunFinished):
        bench.cancel(run)


def test_cancelling_after_the_approval_prevents_the_effect(bench: Bench) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    run = bench.cancel(run)
    assert bench.advance(run).state == RunState.CANCELLED
    assert not (bench.folder / "summary.txt").exists()


def test_cancelling_between_the_verdict_and_the_effect_prevents_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    real = lease.lock

    def cancelled_first(held: lease.Held) -> tuple[Run, datetime]:
        lease.set_held(bench.fresh(run), cancel_requested_at=database_now(), cancel_requested_by=bench.cast.alice)
        return real(held)

    monkeypatch.setattr("agents.runs.calling.lock", cancelled_first)
    run = bench.advance(run)
    assert run.state == RunState.CANCELLED
    assert not (bench.folder / "summary.txt").exists()
    assert bench.calls(run)[0].attempts == 0


def test_a_tool_in_progress_is_killed_on_cancel(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(bench.cast.acme.pk, "run_python", AllowanceMode.ALLOW)
    monkeypatch.setattr(pulse, "LOOK_EVERY", 0.05)
    real = execution.run_all

    def cancelled_meanwhile(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
        with transaction.atomic():
            runs.cancel(jobs[0].permit.run_id, bench.cast.alice, now=database_now())
        return real(jobs, stop)

    monkeypatch.setattr(execution, "run_all", cancelled_meanwhile)
    run = bench.go('run_python {"code": "while True: pass"}')
    assert run.state == RunState.CANCELLED
    (call,) = bench.calls(run)
    assert (call.state, call.outcome) == (CallState.UNKNOWN, "cancelled")


def test_a_stopping_worker_lets_its_runs_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = execution.run_all

    def told_to_stop(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
        runs.leave()
        return real(jobs, stop)

    monkeypatch.setattr(execution, "run_all", told_to_stop)
    bench.rung.clear()
    run = bench.go('read_file {"path": "notes.txt"}')
    assert (run.state, run.leased_by) == (RunState.QUEUED, None)
    assert bench.calls(run)[0].state == CallState.SUCCEEDED
    assert bench.rung.count(run.pk) == 2
    runs.stay()
    assert bench.advance(run).state == RunState.SUCCEEDED


def test_the_heartbeat_renews_leases_and_brings_news(bench: Bench) -> None:
    run = bench.submit("hello")
    with transaction.atomic():
        held = lease.claim(run.id, "w")
    assert held is not None
    soon = database_now() + timedelta(seconds=20)
    Run.objects.filter(pk=run.pk).update(lease_until=soon)
    pulse.look_after({held.run_id: held})
    lease_until = bench.fresh(run).lease_until
    assert lease_until is not None
    assert lease_until > soon + timedelta(seconds=5)
    assert not held.stop()
    bench.cancel(run)
    pulse.look_after({held.run_id: held})
    assert held.cancelled.is_set()
    Run.objects.filter(pk=run.pk).update(fence=F("fence") + 1)
    pulse.look_after({held.run_id: held})
    assert held.lost.is_set()


def test_a_heartbeat_that_fails_in_any_way_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    second = Event()

    def look_after(_mine: dict[uuid.UUID, lease.Held]) -> None:
        beats.append(1)
        if len(beats) == 1:
            raise InterfaceError("no DatabaseError")
        second.set()

    monkeypatch.setattr(pulse, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(pulse, "look_after", look_after)
    with pulse.keeping(lease.Held(uuid.uuid4(), 1, "w")):
        assert second.wait(20)


def test_an_agent_with_a_broken_policy_runs_nothing(bench: Bench) -> None:
    Agent.objects.update(sandbox={"filesystem": {"sandbox_root": "/etc"}})
    run = bench.go('read_file {"path": "passwd"}')
    assert (run.state, run.error_kind) == (RunState.FAILED, "agent_misconfigured")
    Agent.objects.update(sandbox={}, provider="nobody")
    run = bench.go("hello")
    assert (run.state, run.error_kind) == (RunState.FAILED, "unknown_provider")
    assert ToolCall.objects.count() == 0


def test_an_older_worker_leaves_newer_runs_alone(bench: Bench) -> None:
    run = bench.submit("hello")
    Run.objects.update(engine=F("engine") + 1)
    assert bench.advance(run).state == RunState.QUEUED


def test_an_older_worker_hands_a_newer_run_on_a_few_times(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[dict[str, Any]] = []
    run = bench.submit("hello")

    def publish(run_id: str, handed: int) -> None:
        rung.append({"run_id": run_id, "handed": handed})

    monkeypatch.setattr("agents.queue._publish_handed", publish)
    tasks.advance_run(run_id=str(uuid.uuid4()))
    assert rung == []
    Run.objects.update(engine=F("engine") + 1)
    tasks.advance_run(run_id=str(run.pk))
    for _ in range(5):
        tasks.advance_run(**rung[-1])
    assert [bell["handed"] for bell in rung] == [1, 2, 3]
    Run.objects.update(state=RunState.CANCELLED, finished_at=database_now())
    tasks.advance_run(run_id=str(run.pk))
    assert len(rung) == 3


def test_a_call_that_waits_for_a_used_approval_ends_the_run(bench: Bench) -> None:
    run = bench.go(WRITE)
    gate = bench.gate(run)
    bench.decide(gate)
    ApprovalGate.objects.filter(pk=gate.pk).update(state=GateState.SPENT, closed_at=database_now())
    for _ in range(3):
        run = bench.advance(run)
        Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(wake_at=database_now())
    assert (run.state, run.error_kind) == (RunState.FAILED, "crashed")
    assert "CallOutOfStep" in run.error_message
    assert not (bench.folder / "summary.txt").exists()


def test_a_database_outage_is_no_crash_of_the_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def outage(_run: Run) -> None:
        raise OperationalError

    run = bench.submit("hello")
    with monkeypatch.context() as broken:
        broken.setattr("agents.runs.advancing._load", outage)
        run = bench.advance(run)
    assert (run.state, run.leased_by, run.crashes) == (RunState.QUEUED, None, 0)
    Run.objects.update(wake_at=database_now())
    assert bench.advance(run).state == RunState.SUCCEEDED
