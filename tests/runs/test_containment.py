"""AISVS 9.3.8: a violation stops the call, takes the tool out of use, revokes what stood open, and tells people."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from pytest_django import Settings

from agents.models import Agent, Run, ToolCall
from agents.runs.lease import Held
from agents.runs.pulse import isolate
from agents.states import CallState, RunState
from agents.tools import registry
from approvals import containment, manifests, rules
from approvals.containment import Offence
from approvals.errors import BadLifting, ContainmentOver
from approvals.models import ApprovalGate, Containment, ToolRule
from approvals.rules import Reach, RuleChoice, Scope
from approvals.states import GateState
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.polling import eventually
from tests.runs.conftest import Bench, allow
from tests.sandbox.attacks import Attack
from traces import ledger
from traces.models import FeedEntry, LedgerEntry, TraceEvent

SOCKETS = 'attack {"name": "sockets", "args": {}}'
FINE = 'attack {"name": "fine", "args": {}}'
OUTSIDE = 'read_file {"path": "../secret.txt"}'
BREAKOUT = 'run_python {"code": "import os\\ntry:\\n    os.fork()\\nexcept OSError:\\n    pass\\nresult = 7"}'


@pytest.fixture
def hostile(bench: Bench) -> Iterator[Bench]:
    """A tool whose own code attacks, on the allow-list like any other."""
    registry.register(Attack)
    allow(bench.cast.acme.pk, "attack", AllowanceMode.ALLOW)
    allow(bench.cast.globex.pk, "attack", AllowanceMode.ALLOW)
    allow(bench.cast.acme.pk, "run_python", AllowanceMode.ALLOW)
    yield bench
    registry._tools.pop("attack")
    manifests._MANIFESTS.pop("attack")


def another_agent(bench: Bench, tenant_id: int | None = None) -> Bench:
    agent = Agent.objects.create(tenant_id=tenant_id or bench.cast.acme.pk, name="Other", sandbox=bench.agent.sandbox)
    return replace(bench, agent=agent)


def test_a_tools_own_attack_contains_it_for_the_tenant(hostile: Bench) -> None:
    run = hostile.go(SOCKETS)
    (call,) = hostile.calls(run)
    assert (call.state, call.outcome, run.state) == (CallState.FAILED, "violation", RunState.SUCCEEDED)
    assert "thrown away" in hostile.told(run)[0]
    found = Containment.objects.get()
    assert (found.tool, found.agent_id, found.attack_class, found.call_id) == ("attack", "", "network", str(call.pk))
    for other in (hostile, another_agent(hostile)):
        (denied,) = other.calls(other.go(FINE))
        assert (denied.state, denied.rule, denied.attempts) == (CallState.DENIED, "containment", 0)
        assert "until an admin lifts that" in denied.reason


def test_another_tenant_is_not_touched(hostile: Bench) -> None:
    hostile.go(SOCKETS)
    assert containment.contained_tools(hostile.cast.acme.pk, "") == {"attack"}
    assert containment.contained_tools(hostile.cast.globex.pk, "") == frozenset()


def test_code_that_an_agent_wrote_contains_the_tool_for_that_agent(hostile: Bench) -> None:
    run = hostile.go(BREAKOUT)
    assert hostile.calls(run)[0].outcome == "violation"
    assert "7" not in hostile.told(run)[0]
    found = Containment.objects.get()
    assert (found.tool, found.agent_id, found.agent_name) == ("run_python", str(hostile.agent.pk), "Files and web")
    assert hostile.calls(hostile.go('run_python {"code": "print(1)"}'))[0].state == CallState.DENIED
    other = another_agent(hostile)
    assert other.calls(other.go('run_python {"code": "print(1)"}'))[0].state == CallState.SUCCEEDED


def test_what_honest_work_may_do_is_counted_and_contained_when_it_goes_on(hostile: Bench, settings: Settings) -> None:
    settings.ROUTEKIT_CONTAIN_AFTER = 3
    for _ in range(2):
        assert hostile.calls(hostile.go(OUTSIDE))[0].outcome == "violation"
        assert not Containment.objects.exists()
    hostile.go(OUTSIDE)
    assert Containment.objects.get().agent_id == str(hostile.agent.pk)
    assert hostile.calls(hostile.go('read_file {"path": "notes.txt"}'))[0].state == CallState.DENIED


def test_trace_and_ledger_say_what_happened_and_where(hostile: Bench) -> None:
    run = hostile.go(SOCKETS)
    violations = [e.payload for e in TraceEvent.objects.filter(trace_id=run.pk, kind="violation")]
    tier = hostile.calls(run)[0].tier
    # A child that is not warmed for this tool imports it in the call, which reaches for ctypes: one more record.
    found = {(v["class"], v["tool"], v["tier"], v["tenant"]) for v in violations}
    assert ("network", "attack", tier, hostile.cast.acme.pk) in found
    assert {facts[1:] for facts in found} == {("attack", tier, hostile.cast.acme.pk)}
    contained = TraceEvent.objects.get(trace_id=run.pk, kind="tool.contained").payload
    assert (contained["tool"], contained["tenant"], contained["tier"]) == ("attack", hostile.cast.acme.pk, tier)
    entry = ledger.facts_of(LedgerEntry.objects.get(kind="containment"))
    assert (entry["act"], entry["tool"], entry["class"], entry["run"]) == (
        "contained",
        "attack",
        "network",
        str(run.pk),
    )
    feed = FeedEntry.objects.get(topic="containment")
    assert (feed.facts["state"], feed.facts["tool"]) == ("contained", "attack")


def test_open_requests_approvals_and_rules_are_revoked(hostile: Bench) -> None:
    write = 'write_file {"path": "reports/a.txt", "text": "x"}'
    first = hostile.go(write)
    gate = hostile.gate(first)
    hostile.decide(gate)
    with transaction.atomic():
        rule = rules.make_rule(gate.pk, hostile.cast.rita, RuleChoice(Reach.SIMILAR, Scope.TENANT), now=database_now())
    waiting = hostile.go('write_file {"path": "b.txt", "text": "x"}')
    approved, open_gate = gate, hostile.gate(waiting)
    hostile.rung.clear()
    begin(hostile, "write_file")
    states = {g.pk: g.state for g in ApprovalGate.objects.all()}
    assert states == {approved.pk: GateState.LAPSED, open_gate.pk: GateState.WITHDRAWN}
    assert set(hostile.rung) >= {first.pk, waiting.pk}
    assert Containment.objects.get().rules == 1
    assert not ToolRule.objects.in_force(database_now()).filter(pk=rule.pk).exists()
    for revoked in (first, waiting):
        run = hostile.advance(revoked)
        assert (run.state, hostile.calls(run)[0].attempts) == (RunState.SUCCEEDED, 0)
    assert not (hostile.folder / "reports").exists()
    lift(hostile)
    assert hostile.go(write).state == RunState.WAITING


def begin(bench: Bench, tool: str, agent_id: str = "") -> Containment | None:
    offence = Offence(bench.cast.acme.pk, tool, agent_id, "", "process", "os.fork ()", "T2", uuid.uuid4(), "c")
    run = bench.submit("x")
    with transaction.atomic():
        return containment.contain(replace(offence, run_id=run.pk), now=database_now())


def lift(bench: Bench, user: User | None = None, reason: str = "Looked at it: harmless.") -> Containment:
    found = Containment.objects.filter(lifted_at=None).get()
    with transaction.atomic():
        return containment.lift(found.pk, user or bench.cast.adam, reason, now=database_now())


def test_contained_once_however_often_it_offends(hostile: Bench) -> None:
    assert begin(hostile, "attack") is not None
    assert begin(hostile, "attack") is None
    lift(hostile)
    assert begin(hostile, "attack") is not None
    assert Containment.objects.count() == 2


def test_an_admin_lifts_it_with_a_reason_and_nobody_else(hostile: Bench) -> None:
    hostile.go(SOCKETS)
    with pytest.raises(NotAllowed):
        lift(hostile, hostile.cast.rita)
    with pytest.raises(NotVisible):
        lift(hostile, hostile.cast.ada)
    for reason in ("", "   ", "x" * 501):
        with pytest.raises(BadLifting):
            lift(hostile, reason=reason)
    found = lift(hostile)
    with pytest.raises(ContainmentOver), transaction.atomic():
        containment.lift(found.pk, hostile.cast.adam, "again", now=database_now())
    assert hostile.calls(hostile.go(FINE))[0].state == CallState.SUCCEEDED
    lifted = ledger.facts_of(LedgerEntry.objects.filter(kind="containment").latest("number"))
    assert (lifted["act"], lifted["reason"]) == ("lifted", "Looked at it: harmless.")


def test_a_call_that_runs_when_its_tool_is_contained_is_stopped(hostile: Bench) -> None:
    run = hostile.submit('attack {"name": "sleep", "args": {"seconds": 60}}')

    def work() -> None:
        hostile.advance(run)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    eventually(lambda: ToolCall.objects.filter(run=run, state=CallState.RUNNING).exists())
    begin(hostile, "attack")
    worker.join(60)
    assert not worker.is_alive()
    (call,) = hostile.calls(run)
    assert (call.state, call.outcome) == (CallState.FAILED, "contained")
    assert hostile.fresh(run).state == RunState.SUCCEEDED
    assert "Nobody knows whether it took effect" in hostile.told(run)[0]


def test_a_containment_between_verdict_and_start_is_seen(hostile: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    contained: list[Any] = []
    real = containment.contained_tools

    def just_now(tenant_id: int, agent_id: str) -> frozenset[str]:
        if not contained:
            contained.append(begin(hostile, "attack"))
        return real(tenant_id, agent_id)

    monkeypatch.setattr(containment, "contained_tools", just_now)
    (call,) = hostile.calls(hostile.go(FINE))
    assert (call.state, call.attempts) == (CallState.DENIED, 0)


def test_only_the_agents_concerned_are_told_to_stop(hostile: Bench) -> None:
    begin(hostile, "attack", str(hostile.agent.pk))
    mine = Held(uuid.uuid4(), 1, "w", tenant_id=hostile.cast.acme.pk, agent_id=hostile.agent.pk)
    others = replace(mine, agent_id=hostile.agent.pk + 1)
    elsewhere = replace(mine, tenant_id=hostile.cast.globex.pk)
    isolate([mine, others, elsewhere])
    assert [h.isolates("attack")() for h in (mine, others, elsewhere)] == [True, False, False]


PAGES = "/admin/approvals/containment/"


def test_reviewers_and_admins_see_it_on_every_page(hostile: Bench, client_of: Callable[[User], Client]) -> None:
    cast: Cast = hostile.cast
    hostile.go(SOCKETS)
    told = "was taken out of use for every agent after a violation (network)"
    assert told in client_of(cast.rita).get("/queue/").content.decode()
    for_admin = client_of(cast.adam).get("/queue/").content.decode()
    assert told in for_admin
    assert PAGES in for_admin
    assert told not in client_of(cast.alice).get("/jobs/").content.decode()
    assert told not in client_of(cast.ada).get("/queue/").content.decode()


def test_the_admins_page_lifts(hostile: Bench, client_of: Callable[[User], Client]) -> None:
    cast: Cast = hostile.cast
    hostile.go(SOCKETS)
    found = Containment.objects.get()
    page, act = f"{PAGES}{found.pk}/change/", f"{PAGES}{found.pk}/lift/"
    assert client_of(cast.ada).get(page).status_code == 404
    assert client_of(cast.ada).post(act, {"reason": "x"}).status_code == 404
    assert client_of(cast.rita).post(act, {"reason": "x"}).status_code in (302, 403)
    assert client_of(cast.adam).get(act).status_code == 405
    assert "Give attack back" in client_of(cast.adam).get(page).content.decode()
    client_of(cast.adam).post(act, {"reason": ""})
    assert Containment.objects.filter(lifted_at=None).exists()
    assert client_of(cast.adam).post(act, {"reason": "Fixed."}).status_code == 302
    found.refresh_from_db()
    assert (found.lift_reason, found.lifted_by) == ("Fixed.", cast.adam)
    assert "Give attack back" not in client_of(cast.adam).get(page).content.decode()
    assert Run.objects.count() == 1
