"""Timeouts, retries and limits in force: the site's defaults, the agent's own, the tool's own, the tenant's ceiling."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from pydantic import SecretStr, ValidationError
from pytest_django import Settings

from agents import execution
from agents.execution import Failed, FailureKind, Job, SandboxPolicy, policy_for, within
from agents.models import Agent, Run, TenantCeiling
from agents.runs.case import open_case
from agents.states import CallState, RunState
from agents.tools.limits import ResourceLimits
from agents.tools.registry import manifest_of
from agents.types import RuntimeDefaults
from approvals import manifests
from approvals.canonical import digest
from approvals.types import Permit
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User
from tests.runs.conftest import Bench
from tests.sandbox.attacks import Attack
from traces.models import LedgerEntry, TraceEvent

READ = 'read_file {"path": "notes.txt"}'
PLAIN = replace(manifest_of(Attack), timeout=None)


def test_the_seeds_names_and_defaults() -> None:
    assert RuntimeDefaults().model_dump() == {
        "timeout": 30.0,
        "max_retries": 3,
        "retry_backoff_base": 1.0,
        "retry_backoff_max": 60.0,
    }


@pytest.mark.parametrize(
    "named", [{"timeouts": 1}, {"timeout": 0}, {"max_retries": -1}, {"retry_backoff_base": 90}, {"max_retries": 1.5}]
)
def test_defaults_that_make_no_sense_are_refused(named: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        RuntimeDefaults().overlaid(named)


@pytest.mark.parametrize(
    ("own", "default", "policy", "effective"),
    [
        (None, 7.0, {}, 7.0),
        (60.0, 7.0, {}, 60.0),
        (5.0, 7.0, {}, 5.0),
        (60.0, 7.0, {"timeout": 20}, 20.0),
        (None, 7.0, {"timeout": 2}, 2.0),
    ],
)
def test_the_tools_own_timeout_wins_over_the_default_and_a_policy_bounds_both(
    own: float | None, default: float, policy: dict[str, float], effective: float
) -> None:
    made = SandboxPolicy.model_validate({"limits": policy})
    limits = policy_for(made, replace(PLAIN, timeout=own), RuntimeDefaults(timeout=default)).limits
    assert limits.timeout == effective


def test_what_a_tool_declares_narrows_and_never_widens() -> None:
    declared = replace(PLAIN, limits={"memory_mb": 32, "max_files": 5000})
    made = policy_for(SandboxPolicy(), declared, RuntimeDefaults())
    assert (made.limits.memory_mb, made.limits.max_files) == (32, 2000)
    assert manifests.get("run_python").limits == {"cpu_seconds": 20}


def test_a_ceiling_bounds_what_an_agent_names() -> None:
    policy = SandboxPolicy.model_validate({"limits": {"memory_mb": 1024, "timeout": 600}})
    bounded = within(policy, ResourceLimits(memory_mb=128))
    assert (bounded.limits.memory_mb, bounded.limits.timeout) == (128, 600)
    capped = RuntimeDefaults(timeout=600, max_retries=9).capped({"timeout": 60, "retry_backoff_max": 0.5})
    assert (capped.timeout, capped.max_retries, capped.retry_backoff_base) == (60, 9, 0.5)


@pytest.mark.django_db
def test_a_tools_declared_timeout_and_memory_are_enforced() -> None:
    slow = replace(PLAIN, timeout=0.3)
    asleep = executed(slow, {"name": "sleep", "args": {"seconds": 30}})
    assert (asleep.kind, "0.3 seconds" in asleep.message) == (FailureKind.TIMEOUT, True)
    small = replace(PLAIN, limits={"memory_mb": 32})
    assert executed(small, {"name": "memory", "args": {"how": "bytearray"}}).kind is FailureKind.RESOURCES


def executed(manifest: manifests.ToolManifest, arguments: dict[str, object]) -> Failed:
    permit = Permit(
        id=uuid.uuid4(),
        tenant_id=1,
        run_id=uuid.uuid4(),
        call_id="c",
        tool=manifest.name,
        arguments_digest=digest(arguments),
        digest="",
        nonce=uuid.uuid4().hex,
        gate_id=None,
        expires_at=database_now() + timedelta(minutes=1),
    )
    policy = policy_for(SandboxPolicy(), manifest, RuntimeDefaults())
    (outcome,) = execution.run_all([Job(permit, manifest, arguments, policy)], lambda: False)
    assert isinstance(outcome, Failed)
    return outcome


def give(bench: Bench, **columns: object) -> None:
    Agent.objects.filter(pk=bench.agent.pk).update(**columns)


def test_an_agents_own_retries_of_an_idempotent_tool_are_in_the_trace(bench: Bench) -> None:
    files = {"filesystem": {"sandbox_root": str(bench.folder)}, "limits": {"timeout": 0.0001}}
    give(bench, sandbox=files, runtime={"max_retries": 1, "retry_backoff_base": 40, "retry_backoff_max": 40})
    before = database_now()
    run = bench.go(READ)
    assert (run.state, bench.calls(run)[0].state) == (RunState.QUEUED, CallState.PERMITTED)
    assert run.wake_at is not None
    assert before + timedelta(seconds=29) < run.wake_at < database_now() + timedelta(seconds=60)
    Run.objects.filter(pk=run.pk).update(wake_at=database_now())
    run = bench.advance(run)
    (call,) = bench.calls(run)
    assert (run.state, call.state, call.outcome, call.attempts) == (RunState.SUCCEEDED, CallState.FAILED, "timeout", 2)
    (retry,) = TraceEvent.objects.filter(trace_id=run.pk, kind="tool.retry")
    assert (retry.payload["attempt"], retry.payload["outcome"]) == (1, "timeout")
    assert [e.payload["attempt"] for e in TraceEvent.objects.filter(trace_id=run.pk, kind="tool.started")] == [1, 2]


def test_an_agent_that_wants_no_retries_has_none(bench: Bench, settings: Settings) -> None:
    settings.ROUTEKIT_OPENAI_API_KEY = SecretStr("none")
    settings.ROUTEKIT_OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    give(bench, provider="openai", model="m", runtime={"max_retries": 0})
    run = bench.go("Say hello")
    assert (run.state, run.error_kind) == (RunState.FAILED, "model_unreachable")


def test_the_sites_defaults_and_the_tenants_ceiling_are_in_force(bench: Bench, settings: Settings) -> None:
    settings.ROUTEKIT_RUNTIME_DEFAULTS = RuntimeDefaults(timeout=90, max_retries=7)
    give(bench, runtime={"timeout": 80})
    TenantCeiling.objects.create(tenant=bench.cast.acme, limits={"memory_mb": 64}, runtime={"timeout": 40})
    run = Run.objects.get(pk=bench.submit("x").pk)
    case = open_case(run, database_now())
    assert (case.runtime.timeout, case.runtime.max_retries, case.sandbox.limits.memory_mb) == (40, 7, 64)


def test_a_lowered_ceiling_reopens_a_gate_that_was_approved(bench: Bench) -> None:
    run = bench.go('write_file {"path": "a.txt", "text": "x"}')
    bench.decide(bench.gate(run))
    TenantCeiling.objects.create(tenant=bench.cast.acme, limits={"max_disk_mb": 1})
    run = bench.advance(run)
    assert run.state == RunState.WAITING
    assert "What the sandbox allows was changed." in str(bench.gate(run).change)
    assert not (bench.folder / "a.txt").exists()


CEILING = "/admin/agents/tenantceiling/"


def test_the_ceiling_is_read_by_admins_and_changed_by_operators(
    bench: Bench, client_of: Callable[[User], Client]
) -> None:
    cast = bench.cast
    sent = {"tenant": cast.acme.pk, "limits": '{"memory_mb": 64}', "runtime": '{"timeout": 40}'}
    assert client_of(cast.adam).post(f"{CEILING}add/", sent).status_code == 403
    assert client_of(cast.rita).get(CEILING).status_code in (302, 403)
    User.objects.filter(pk=cast.adam.pk).update(is_superuser=True)
    for bad in ({"limits": '{"memory": 1}'}, {"runtime": '{"timeout": 0}'}, {"runtime": "[1]"}):
        assert client_of(cast.adam).post(f"{CEILING}add/", sent | bad).status_code == 200
    assert client_of(cast.adam).post(f"{CEILING}add/", sent).status_code == 302
    assert TenantCeiling.objects.get().limits == {"memory_mb": 64}
    assert "ceiling" in str(LedgerEntry.objects.get().facts)
    User.objects.filter(pk=cast.adam.pk).update(is_superuser=False)
    assert "64" in client_of(cast.adam).get(CEILING).content.decode()
    assert client_of(cast.adam).post(f"{CEILING}{cast.acme.pk}/change/", sent | {"limits": "{}"}).status_code == 403
    assert client_of(cast.ada).get(f"{CEILING}{cast.acme.pk}/change/").status_code == 404
    assert TenantCeiling.objects.get().limits == {"memory_mb": 64}
