"""Policy met by real runs: what denies is told, what was remembered passes and is counted, what is kept is sealed."""

from __future__ import annotations

import dataclasses

import pytest
from django.conf import LazySettings
from django.db import transaction

from agents import execution
from agents.execution import Failed, FailureKind
from agents.models import Run
from agents.runs import case
from agents.sandbox.outcome import Tier
from agents.states import CallState, RunState
from approvals import manifests, rules
from approvals.effects import Reversibility, ToolPermission
from approvals.models import RecordedCall, TenantPolicy, ToolAllowance, ToolRule
from approvals.policy_facts import tenant_policy
from approvals.rules import Reach, RuleChoice
from approvals.simulation import draft, simulate
from approvals.types import AllowanceMode, CallFacts, Risk, ToolFilter
from routekit_site.tenancy.clock import database_now
from tests.policy import approval_callbacks
from tests.runs.conftest import Bench, allow

BROKEN = Failed(FailureKind.SANDBOX_ERROR, "Broken.", retryable=True, tier=Tier.T1)
WRITE = 'write_file {"path": "reports/a.txt", "text": "All is well."}'


def remember(bench: Bench) -> ToolRule:
    """Approve a write of `reports/a.txt` and make the similar calls of this agent pass."""
    run = bench.go(WRITE)
    gate = bench.gate(run)
    bench.decide(gate)
    with transaction.atomic():
        rule = rules.make_rule(gate.pk, bench.cast.rita, RuleChoice(Reach.SIMILAR), now=database_now())
    assert bench.advance(run).state == RunState.SUCCEEDED
    return rule


def test_a_remembered_approval_lets_the_next_run_pass_and_is_counted(bench: Bench) -> None:
    rule = remember(bench)
    run = bench.go(WRITE.replace("a.txt", "b.txt"))
    assert run.state == RunState.SUCCEEDED
    (call,) = bench.calls(run)
    assert (call.state, call.level, call.rule) == (CallState.SUCCEEDED, "rule", f"rule {rule.pk}")
    assert (bench.folder / "reports/b.txt").read_text() == "All is well."
    rule.refresh_from_db()
    assert rule.uses == 1
    assert bench.go(WRITE.replace("reports", "elsewhere")).state == RunState.WAITING


def test_a_call_that_the_sandbox_refuses_uses_up_no_rule(bench: Bench) -> None:
    fetch = 'http_request {"url": "https://example.com/"}'
    gate = bench.gate(bench.go(fetch))
    bench.decide(gate)
    with transaction.atomic():
        rule = rules.make_rule(gate.pk, bench.cast.rita, RuleChoice(Reach.SIMILAR), now=database_now())
    run = bench.go(fetch)
    (call,) = bench.calls(run)
    assert (call.state, call.outcome, call.rule) == (CallState.FAILED, "network_refused", f"rule {rule.pk}")
    rule.refresh_from_db()
    assert rule.uses == 0


def test_a_revoked_rule_asks_again(bench: Bench) -> None:
    rule = remember(bench)
    with transaction.atomic():
        rules.revoke(rule.pk, bench.cast.rita, now=database_now())
    assert bench.go(WRITE).state == RunState.WAITING


def test_a_gate_carries_the_tenants_own_class_of_the_tool(bench: Bench) -> None:
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ALLOW, reversibility=Reversibility.IRREVERSIBLE)
    gate = bench.gate(bench.go(WRITE))
    assert (gate.reversibility, gate.risk, gate.rule) == (Reversibility.IRREVERSIBLE, Risk.HIGH, "irreversible")
    assert gate.presentation["reversibility"]["class"] == Reversibility.IRREVERSIBLE
    assert rules.proposals(gate, now=database_now()) == ()


@pytest.mark.parametrize("tried_before", [False, True])
def test_a_permission_that_the_tool_got_since_the_approval_is_asked_about_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, tried_before: bool
) -> None:
    allow(bench.cast.acme.pk, "read_file", AllowanceMode.ASK)
    run = bench.go('read_file {"path": "notes.txt"}' if tried_before else WRITE)
    bench.decide(bench.gate(run))
    if tried_before:
        monkeypatch.setattr(execution, "run_all", lambda jobs, _stop: [BROKEN for _ in jobs])
        run = bench.advance(run)
        Run.objects.filter(pk=run.pk).update(wake_at=database_now())
    (call,) = bench.calls(run)
    known = manifests.get(call.tool)
    wider = dataclasses.replace(known, permissions=known.permissions | {ToolPermission.NETWORK})
    monkeypatch.setitem(manifests._MANIFESTS, call.tool, wider)
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state, call.attempts) == (RunState.WAITING, CallState.GATED, int(tried_before))
    gate = bench.gate(run)
    assert gate.permissions == ["filesystem", "network"]
    assert ("permissions" in str(gate.presentation["change"])) is not tried_before


def test_denied_at_every_level_the_model_is_told_not_allowed(bench: Bench, settings: LazySettings) -> None:
    allow(bench.cast.acme.pk, "read_file", AllowanceMode.DENY)
    settings.ROUTEKIT_TOOL_FILTER = ToolFilter(denied_tools=("list_*",), locked_denied_tools=("calc*",))
    line = 'read_file {"path": "notes.txt"}\nlist_directory {}\ncalculator {"expression": "1"}'
    by_site = bench.calls(bench.go(line))
    assert [call.level for call in by_site] == ["tenant", "site", "site"]
    bench.agent.tool_filter = {"denied_tools": ["list_*"], "allowed_tools": None}
    bench.agent.save()
    by_agent = bench.calls(bench.go(line))
    assert [call.level for call in by_agent] == ["tenant", "agent", "site"]
    for call in (*by_site, *by_agent):
        assert (call.state, call.attempts) == (CallState.DENIED, 0)
        assert "not allowed" in call.reason


def test_a_callback_that_denies_is_told_as_a_refused_approval(bench: Bench, settings: LazySettings) -> None:
    callback = "tests.policy.approval_callbacks.deny"
    settings.ROUTEKIT_APPROVAL_CALLBACKS = (callback,)
    TenantPolicy.objects.update(approval_callback=callback)
    run = bench.go(WRITE)
    (call,) = bench.calls(run)
    assert (run.state, call.state) == (RunState.SUCCEEDED, CallState.DENIED)
    assert "approval was refused" in call.reason
    assert "approval was refused" in bench.told(run)[0]


@pytest.mark.parametrize("answer", ["approve", "ask"])
def test_a_tool_that_is_denied_while_a_callback_thinks_does_not_run(
    bench: Bench, settings: LazySettings, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    callback = "tests.policy.approval_callbacks.thinking"
    settings.ROUTEKIT_APPROVAL_CALLBACKS = (callback,)
    TenantPolicy.objects.update(approval_callback=callback)
    asked: list[str] = []

    def think(call: CallFacts) -> str:
        asked.append(call.tool)
        if len(asked) == 2:
            ToolAllowance.objects.filter(tool=call.tool).update(mode=AllowanceMode.DENY)
        return answer

    monkeypatch.setattr(approval_callbacks, "think", think)
    monkeypatch.setattr(case, "FRESH_FOR", 0.0)
    run = bench.go(WRITE)
    if answer == "ask":
        bench.decide(bench.gate(run))
        run = bench.advance(run)
    assert len(asked) == 2
    (call,) = bench.calls(run)
    assert (run.state, call.state, call.attempts) == (RunState.SUCCEEDED, CallState.DENIED, 0)
    assert not (bench.folder / "reports").exists()


def test_every_judged_call_can_be_simulated_and_none_is_kept_in_clear(bench: Bench) -> None:
    bench.go(f'{WRITE}\ncalculator {{"expression": "6*7"}}\nrun_python {{"code": "print(4711)"}}')
    kept = {row.tool: row.verdict for row in RecordedCall.objects.all()}
    assert kept == {"calculator": "allow", "run_python": "deny"}
    assert not any(b"4711" in bytes(row.arguments_sealed) for row in RecordedCall.objects.all())
    tenant = bench.cast.acme.pk
    now = database_now()
    assert simulate(tenant, draft(tenant), now=now).changed == ()
    everything = tenant_policy(tenant)
    everything.require_approval_for_permissions = []
    found = simulate(tenant, draft(tenant, policy=everything), now=now)
    assert (found.looked_at, found.counts) == (3, (("ask", "allow", 1),))
