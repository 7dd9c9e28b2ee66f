"""A reply's calls are gated at the highest impact among them (AISVS 9.2.10), from the proposal to the call's start."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import pytest
from django.db import transaction

from agents import execution, replay
from agents.execution import Failed, FailureKind, Job, Outcome
from agents.models import Run
from agents.runs import calling, editing, reopening
from agents.sandbox.outcome import Tier
from agents.states import CallState, RunState
from approvals import rules
from approvals.models import ApprovalGate, ToolAllowance
from approvals.policy_facts import tenant_policy
from approvals.rules import Reach, RuleChoice
from approvals.simulation import draft, simulate
from approvals.types import AllowanceMode, Risk
from routekit_site.tenancy.clock import database_now
from tests.runs.conftest import Bench, allow
from traces import redactors
from traces.models import RedactionPolicy

WRITE = 'write_file {"path": "summary.txt", "text": "new", "overwrite": true}'
DELETE = 'delete_file {"path": "notes.txt"}'
READ = 'read_file {"path": "notes.txt"}'


@pytest.fixture(autouse=True)
def _writes_freely(bench: Bench) -> None:
    """Alone, a write needs nobody; a deletion needs an admin."""
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ALLOW)
    allow(bench.cast.acme.pk, "delete_file", AllowanceMode.ASK, approver_roles=["admin"])


def gate_of(bench: Bench, run: Run, tool: str) -> ApprovalGate:
    (gate,) = [gate for gate in bench.gates(run) if gate.tool == tool]
    return gate


def test_a_write_that_is_allowed_alone_waits_beside_a_deletion_and_says_why(bench: Bench) -> None:
    assert bench.go(WRITE).state == RunState.SUCCEEDED
    (bench.folder / "summary.txt").unlink()
    run = bench.go(f"{READ}\n{WRITE}\n{DELETE}")
    assert [call.state for call in bench.calls(run)] == [CallState.SUCCEEDED, CallState.GATED, CallState.GATED]
    assert not (bench.folder / "summary.txt").exists()
    gate = gate_of(bench, run, "write_file")
    assert (gate.risk, gate.risk_rank, gate.approver_roles) == (Risk.HIGH, 3, ["admin"])
    view = gate.presentation
    assert view["risk"] == "high"
    assert view["why"]["chain"]["tools"] == ["delete_file"]
    assert "`delete_file` in the same reply asks" in str(view["why"]["reason"])
    bench.decide(gate, user=bench.cast.adam)
    assert bench.advance(run).state == RunState.WAITING
    bench.decide(gate_of(bench, run, "delete_file"), "reject", user=bench.cast.adam)
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert [call.state for call in bench.calls(run)][1:] == [CallState.SUCCEEDED, CallState.REJECTED]


def test_calls_of_two_replies_are_two_chains(bench: Bench) -> None:
    run = bench.go(f"{WRITE}\n\n{DELETE}")
    assert [call.state for call in bench.calls(run)] == [CallState.SUCCEEDED, CallState.GATED]


def test_a_remembered_rule_does_not_stand_in_for_a_chain(bench: Bench) -> None:
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.BY_PERMISSION)
    run = bench.go(WRITE)
    gate = bench.gate(run)
    bench.decide(gate)
    with transaction.atomic():
        rule = rules.make_rule(gate.pk, bench.cast.rita, RuleChoice(Reach.ANY), now=database_now())
    assert bench.advance(run).state == RunState.SUCCEEDED
    assert bench.go(WRITE).state == RunState.SUCCEEDED
    run = bench.go(f"{WRITE}\n{DELETE}")
    assert len(bench.gates(run)) == 2
    rule.refresh_from_db()
    assert rule.uses == 1
    held = gate_of(bench, run, "write_file")
    assert {each.refusal for each in rules.proposals(held, now=database_now())} == {
        "This call asked only because others of the same reply did, and no rule stands in for them."
    }


def test_what_changed_since_the_approval_is_asked_again_by_the_chains_approvers(bench: Bench) -> None:
    run = bench.go(f"{WRITE}\n{DELETE}")
    for gate in bench.gates(run):
        bench.decide(gate, user=bench.cast.adam)
    (bench.folder / "summary.txt").write_text("changed meanwhile")
    run = bench.advance(run)
    second = gate_of(bench, run, "write_file")
    assert second.reopens_id is not None
    assert (second.risk, second.approver_roles) == (Risk.HIGH, ["admin"])
    assert second.presentation["why"]["chain"]["tools"] == ["delete_file"]
    assert (bench.folder / "summary.txt").read_text() == "changed meanwhile"


def test_a_call_whose_outcome_nobody_knows_asks_the_chains_approvers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.go(f"{WRITE}\n{DELETE}")
    for gate in bench.gates(run):
        bench.decide(gate, user=bench.cast.adam)

    def killed(_jobs: Sequence[Job], _stop: Callable[[], bool]) -> list[Outcome]:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(execution, "run_all", killed)
        with pytest.raises(SystemExit):
            bench.advance(run)
    Run.objects.filter(pk=run.pk).update(lease_until=database_now())
    run = bench.advance(run)
    gate = gate_of(bench, run, "write_file")
    assert bench.calls(run)[0].state == CallState.UNKNOWN
    assert (gate.rule, gate.risk, gate.approver_roles) == ("unknown outcome", Risk.HIGH, ["admin"])
    hook = redactors.default_hook().model_dump(mode="json")
    RedactionPolicy.objects.create(tenant=bench.cast.acme, hook=hook, version=7)
    assert reopening.reopen_outdated() == 1
    renewed = gate_of(bench, run, "write_file")
    assert (renewed.rule, renewed.risk, renewed.approver_roles) == ("unknown outcome", Risk.HIGH, ["admin"])


def test_an_edit_and_a_page_made_anew_ask_for_no_less(bench: Bench) -> None:
    run = bench.go(f"{WRITE}\n{DELETE}")
    gate = gate_of(bench, run, "write_file")
    found = editing.open_draft(gate)
    sent = {"digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": uuid.uuid4().hex, "reason": ""}
    texts = {field.name: field.text for field in found.fields()} | {"text": "newer"}
    amendment = editing.amendment_of(gate, sent, texts)
    revision = editing.revise(found, bench.cast.adam, amendment, texts, now=database_now())
    with transaction.atomic():
        edited = editing.replace(revision, now=database_now())
    assert (edited.risk, edited.approver_roles) == (Risk.HIGH, ["admin"])
    hook = redactors.default_hook().model_dump(mode="json")
    RedactionPolicy.objects.create(tenant=bench.cast.acme, hook=hook, version=7)
    assert reopening.reopen_outdated() == 2
    renewed = gate_of(bench, run, "write_file")
    assert renewed.pk != edited.pk
    assert (renewed.risk, renewed.approver_roles) == (Risk.HIGH, ["admin"])


def test_a_call_whose_neighbour_asks_only_now_waits_with_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policy was tightened between the proposal and the start of the calls."""
    start = calling.start

    def tightened(*args: object, **kwargs: object) -> bool:
        ToolAllowance.objects.filter(tool="run_python").update(mode=AllowanceMode.ASK)
        return start(*args, **kwargs)  # type: ignore[arg-type]

    allow(bench.cast.acme.pk, "run_python", AllowanceMode.ALLOW)
    monkeypatch.setattr(calling, "start", tightened)
    run = bench.go(f'{WRITE}\nrun_python {{"code": "print(1)"}}')
    assert {call.state for call in bench.calls(run)} == {CallState.GATED}
    assert not (bench.folder / "summary.txt").exists()


def test_a_second_try_of_an_approved_call_is_not_policys_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool's entry was changed between the tries: what was approved is not what would be tried again."""
    allow(bench.cast.acme.pk, "http_request", AllowanceMode.ALLOW)

    def broken(jobs: Sequence[Job], _stop: Callable[[], bool]) -> list[Outcome]:
        return [Failed(FailureKind.NETWORK_ERROR, "The connection broke.", retryable=True, tier=Tier.T1) for _ in jobs]

    run = bench.go(f'http_request {{"url": "https://a.example/"}}\n{DELETE}')
    bench.decide(gate_of(bench, run, "http_request"), user=bench.cast.adam)
    bench.decide(gate_of(bench, run, "delete_file"), "reject", user=bench.cast.adam)
    monkeypatch.setattr(execution, "run_all", broken)
    run = bench.advance(run)
    constraint = {"pointer": "/url", "kind": "host_in", "value": ["a.example"]}
    allow(bench.cast.acme.pk, "http_request", AllowanceMode.ALLOW, constraints=[constraint])
    Run.objects.update(wake_at=database_now())
    run = bench.advance(run)
    assert run.state == RunState.WAITING
    assert gate_of(bench, run, "http_request").approver_roles == ["admin"]
    assert bench.calls(run)[0].attempts == 1


def test_a_replay_and_a_simulation_see_no_change_where_there_is_none(bench: Bench) -> None:
    run = bench.go(f"{WRITE}\n{DELETE}")
    for gate in bench.gates(run):
        bench.decide(gate, "reject", user=bench.cast.adam)
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    fresh = Run.objects.select_related("agent", "submitter").get(pk=run.pk)
    assert replay.replay(fresh, now=database_now(), live=False).divergences == ()
    tenant = bench.cast.acme.pk
    assert simulate(tenant, draft(tenant, policy=tenant_policy(tenant)), now=database_now()).changed == ()
