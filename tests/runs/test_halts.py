"""The kill switch: what runs dies, nothing starts, gates stay, everybody is told, lifting goes on where it stood.

AISVS 9.1.3 (one switch halts all agents), 9.6.1 (inference and outputs), 9.6.3 (out of band from the agent runtime).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.test import Client

from agents import execution, runs
from agents.errors import AgentHalted, ModelInterrupted
from agents.execution import Job, Outcome
from agents.models import Agent, Run
from agents.providers import interruptible
from agents.providers.scripted import ScriptedProvider
from agents.runs import lease, pulse
from agents.runs.calling import plan
from agents.runs.case import open_case
from agents.states import CallState, RunState
from approvals import gates, halting
from approvals.errors import BadHalt, Halted, NotHalted
from approvals.halting import Target
from approvals.models import ApprovalGate
from approvals.states import GateState
from approvals.types import Allow, AllowanceMode, Level
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import Halt, User
from tests.fixtures.polling import eventually
from tests.runs.conftest import Bench, allow
from traces import ledger
from traces.models import FeedEntry, LedgerEntry

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'
SPIN = 'run_python {"code": "while True: pass"}'


def target_of(bench: Bench, scope: str) -> Target:
    acme, agent = bench.cast.acme, bench.agent
    return {"site": Target(), "tenant": Target(acme), "agent": Target(acme, str(agent.pk), agent.name)}[scope]


def throw(bench: Bench, scope: str = "agent", reason: str = "It deletes what it should read.") -> Halt:
    with transaction.atomic():
        return halting.halt(target_of(bench, scope), by="adam", reason=reason, now=database_now())


def lift(halt: Halt) -> None:
    with transaction.atomic():
        halting.lift(halt.pk, by="adam", now=database_now())


@pytest.mark.parametrize("scope", ["agent", "tenant", "site"])
def test_nothing_starts_while_it_is_thrown_and_everything_goes_on_when_it_is_lifted(bench: Bench, scope: str) -> None:
    queued, waiting = bench.submit(WRITE), bench.go(WRITE.replace("summary", "other"))
    bench.decide(bench.gate(waiting))
    thrown = throw(bench, scope)
    with pytest.raises(AgentHalted, match="It deletes what it should read"):
        bench.submit("hello")
    assert bench.advance(queued).state == RunState.QUEUED
    assert bench.advance(waiting).state == RunState.WAITING
    assert not list(bench.folder.glob("other.txt"))
    lift(thrown)
    assert bench.advance(queued).state == RunState.WAITING
    assert bench.advance(waiting).state == RunState.SUCCEEDED
    assert (bench.folder / "other.txt").exists()


def test_it_stops_only_what_it_names(bench: Bench) -> None:
    other = Agent.objects.create(tenant=bench.cast.acme, name="Other", provider="scripted")
    throw(bench, "agent")
    bench_other = Bench(bench.cast, other, bench.folder, bench.rung)
    assert bench_other.go("hello").state == RunState.SUCCEEDED


def test_an_approval_is_not_redeemed(bench: Bench) -> None:
    run = bench.go(WRITE)
    gate = bench.gate(run)
    bench.decide(gate)
    throw(bench)
    held = lease.Held(run.id, run.fence, "w")
    assert held is not None
    case_run = Run.objects.select_related("agent", "submitter").get(pk=run.pk)
    now = database_now()
    planned = plan(held, open_case(case_run, now), bench.calls(run)[0])
    assert planned is not None
    with pytest.raises(Halted), transaction.atomic():
        gates.redeem(gate.pk, planned.binding, Allow(Level.GATE, "r", "x"), now=now)
    assert ApprovalGate.objects.get(pk=gate.pk).state == GateState.APPROVED


def test_gates_stay_and_their_clocks_stand_still(bench: Bench) -> None:
    run = bench.go(WRITE)
    gate = bench.gate(run)
    thrown = throw(bench, "tenant")
    overdue = ApprovalGate.objects.filter(pk=gate.pk)
    overdue.update(opened_at=F("opened_at") - timedelta(days=2), decide_by=database_now() - timedelta(minutes=5))
    runs.sweep()
    assert overdue.get().state == GateState.PENDING
    Halt.objects.filter(pk=thrown.pk).update(halted_at=database_now() - timedelta(minutes=10))
    lift(thrown)
    runs.sweep()
    assert overdue.get().state == GateState.PENDING
    assert overdue.get().decide_by > database_now() + timedelta(minutes=4)
    bench.decide(overdue.get())
    assert bench.advance(run).state == RunState.SUCCEEDED


@pytest.fixture
def spinning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Run]]:
    """A run whose tool never ends by itself, advanced by a worker thread; give it to be stopped."""
    allow(bench.cast.acme.pk, "run_python", AllowanceMode.ALLOW)
    monkeypatch.setattr(pulse, "LOOK_EVERY", 0.05)
    started = threading.Event()
    real = execution.run_all

    def run_all(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
        started.set()
        return real(jobs, stop)

    monkeypatch.setattr(execution, "run_all", run_all)
    run = bench.submit(SPIN)

    def work() -> None:
        try:
            runs.advance(run.id, worker="w")
        finally:
            connection.close()

    worker = threading.Thread(target=work, daemon=True)

    def begin() -> Run:
        worker.start()
        assert started.wait(30)
        return run

    yield begin
    worker.join(60)
    assert not worker.is_alive()


@pytest.mark.parametrize("scope", ["agent", "site"])
def test_a_running_tool_is_killed_and_a_person_is_asked_when_it_is_lifted(
    bench: Bench, spinning: Callable[[], Run], scope: str
) -> None:
    run = spinning()
    thrown = throw(bench, scope)
    eventually(lambda: bench.fresh(run).state == RunState.QUEUED, what="the run is let go")
    (call,) = bench.calls(run)
    assert (call.state, call.attempts) == (CallState.RUNNING, 1)
    assert bench.advance(run).state == RunState.QUEUED
    lift(thrown)
    assert bench.advance(run).state == RunState.WAITING
    (call,) = bench.calls(run)
    assert (call.state, call.attempts) == (CallState.UNKNOWN, 1)
    assert "did NOT take effect" in str(bench.gate(run).presentation)
    assert bench.fresh(run).crashes == 0
    bench.cancel(run)


def test_a_run_can_be_called_off_while_it_is_halted(bench: Bench) -> None:
    run = bench.go(WRITE)
    throw(bench)
    assert bench.cancel(run).state == RunState.CANCELLED


def test_what_a_model_says_after_the_switch_is_not_taken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ScriptedProvider.complete
    thrown: list[Halt] = []

    def halted_meanwhile(self: ScriptedProvider, request: object, *, stop: Callable[[], bool]) -> object:
        thrown.append(throw(bench))
        return real(self, request, stop=stop)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ScriptedProvider, "complete", halted_meanwhile)
        run = bench.go(WRITE)
    assert (run.state, run.steps, bench.calls(run)) == (RunState.QUEUED, 0, [])
    lift(thrown[0])
    assert bench.advance(run).state == RunState.WAITING


def test_a_model_that_sends_nothing_is_given_up_too() -> None:
    release, stopped = threading.Event(), threading.Event()
    closed: list[bool] = []

    def silent(_closers: list[Callable[[], None]]) -> str:
        _closers.append(lambda: closed.append(True))
        release.wait(30)
        return "too late"

    stopped.set()
    with pytest.raises(ModelInterrupted):
        interruptible.wait_for(silent, stopped.is_set)
    assert closed == [True]
    release.set()
    assert interruptible.wait_for(lambda _closers: "in time", lambda: False) == "in time"


def test_when_nobody_can_be_asked_what_is_in_hand_is_stopped(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    run = bench.submit("hello")
    with transaction.atomic():
        held = lease.claim(run.id, "w")
    assert held is not None
    assert not held.stop()
    held.heard -= lease.lease_time().total_seconds()
    pulse.look_after({held.run_id: held})
    assert not held.stop()
    held.heard -= lease.lease_time().total_seconds()
    assert held.stop()
    assert held.stop()
    assert caplog.text.count("has not answered for the length of a lease") == 1


def test_a_switch_that_cannot_be_read_starts_nothing(bench: Bench) -> None:
    run = bench.submit(WRITE)
    with connection.schema_editor() as editor:
        editor.alter_db_table(Halt, "tenancy_halt", "tenancy_gone")
    try:
        with pytest.raises(DatabaseError):
            bench.submit("hello")
        with pytest.raises(DatabaseError):
            runs.advance(run.id, worker="w")
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(Halt, "tenancy_gone", "tenancy_halt")
    assert bench.fresh(run).state == RunState.QUEUED


def test_both_ledgers_and_feeds_are_told_of_a_halt_of_the_site(bench: Bench) -> None:
    thrown = throw(bench, "site", "Audit")
    assert throw(bench, "site", "again").pk == thrown.pk
    lift(thrown)
    with pytest.raises(NotHalted):
        lift(thrown)
    for tenant in (bench.cast.acme, bench.cast.globex):
        told = [
            ledger.facts_of(e) for e in LedgerEntry.objects.filter(tenant_id=tenant.pk, kind="halt").order_by("number")
        ]
        assert [(each["act"], each["scope"], each["reason"]) for each in told] == [
            ("halted", "site", "Audit"),
            ("lifted", "site", "Audit"),
        ]
        assert ledger.verify(tenant.pk) == []
        assert FeedEntry.objects.filter(tenant_id=tenant.pk, topic="halt").count() == 2
    with pytest.raises(BadHalt):
        throw(bench, "site", "  ")


def test_the_commands_work_without_any_worker(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    run = bench.submit("hello")
    call_command("halt", "--tenant", "acme", "--reason", "Looking into it")
    assert "every agent of Acme" in capsys.readouterr().out
    assert bench.advance(run).state == RunState.QUEUED
    call_command("halt", "--site", "--reason", "All of it")
    call_command("halt", "--list")
    assert "Looking into it" in capsys.readouterr().out
    call_command("resume", "--tenant", "acme")
    assert "Still stopped: every agent of this site" in capsys.readouterr().out
    assert bench.advance(run).state == RunState.QUEUED
    call_command("resume", "--site")
    assert bench.advance(run).state == RunState.SUCCEEDED
    for wrong in (
        ["halt", "--reason", "x"],
        ["halt", "--tenant", "nobody", "--reason", "x"],
        ["halt", "--site"],
        ["resume", "--site"],
    ):
        with pytest.raises(CommandError):
            call_command(*wrong)


def test_who_may_throw_it(bench: Bench) -> None:
    cast = bench.cast
    halting.check_halt(cast.adam, cast.acme.pk)
    for person, error in ((cast.rita, NotAllowed), (cast.alice, NotAllowed), (cast.ada, NotVisible)):
        with pytest.raises(error):
            halting.check_halt(person, cast.acme.pk)
    for person in (cast.adam, cast.rita):
        with pytest.raises(NotVisible):
            halting.check_halt(person, None)
    User.objects.filter(pk=cast.oscar.pk).update(is_superuser=True)
    halting.check_halt(User.objects.get(pk=cast.oscar.pk), None)


def test_the_admin_page_stops_and_lifts(bench: Bench, client_of: Callable[[User], Client]) -> None:
    cast, adam = bench.cast, client_of(bench.cast.adam)
    page = adam.get("/admin/tenancy/halt/add/").content.decode()
    assert "every agent of Acme" in page
    assert "Globex" not in page
    assert "this site" not in page
    scope = f"agent {cast.acme.pk}/{bench.agent.pk}"
    assert adam.post("/admin/tenancy/halt/add/", {"target": "site", "reason": "x"}).status_code == 200
    assert (
        adam.post("/admin/tenancy/halt/add/", {"target": f"tenant {cast.globex.pk}", "reason": "x"}).status_code == 200
    )
    assert not Halt.objects.exists()
    assert adam.post("/admin/tenancy/halt/add/", {"target": scope, "reason": "Odd <b>answers</b>"}).status_code == 302
    thrown = Halt.objects.get()
    assert (thrown.scope, thrown.halted_by) == (scope, "adam")
    for path in ("/jobs/", "/jobs/new/", "/admin/"):
        assert "Odd &lt;b&gt;answers&lt;/b&gt;" in adam.get(path).content.decode(), path
    assert "Odd" in client_of(cast.rita).get("/queue/").content.decode()
    assert "Odd" not in client_of(cast.carol).get("/jobs/").content.decode()
    assert client_of(cast.rita).get("/admin/tenancy/halt/").status_code == 403
    ada = client_of(cast.ada)
    assert "Odd" not in ada.get("/admin/tenancy/halt/").content.decode()
    lift_it = {"action": "lift", "_selected_action": [str(thrown.pk)]}
    ada.post("/admin/tenancy/halt/", lift_it)
    assert Halt.objects.standing().exists()
    adam.post("/admin/tenancy/halt/", lift_it)
    assert not Halt.objects.standing().exists()
    assert "Odd" not in adam.get("/jobs/").content.decode()


def test_an_operator_stops_the_site_and_a_tenants_admin_cannot_lift_that(
    bench: Bench, client_of: Callable[[User], Client]
) -> None:
    User.objects.filter(pk=bench.cast.oscar.pk).update(is_superuser=True)
    operator = client_of(User.objects.get(pk=bench.cast.oscar.pk))
    assert operator.post("/admin/tenancy/halt/add/", {"target": "site", "reason": "All"}).status_code == 302
    thrown = Halt.objects.get()
    assert "every agent of this site" in client_of(bench.cast.carol).get("/jobs/").content.decode()
    lift_it = {"action": "lift", "_selected_action": [str(thrown.pk)]}
    assert client_of(bench.cast.adam).post("/admin/tenancy/halt/", lift_it).status_code == 404
    assert Halt.objects.standing().exists()
    operator.post("/admin/tenancy/halt/", lift_it)
    assert not Halt.objects.standing().exists()
    assert "Acme" not in operator.get("/admin/tenancy/halt/").content.decode()
