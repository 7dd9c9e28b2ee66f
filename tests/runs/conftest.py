"""Runs for the tests: a tenant whose allow-list asks for a person, and a scripted agent with a folder of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from agents import queue, runs, tasks
from agents.models import Agent, Run, ToolCall
from agents.providers import PROVIDERS
from agents.states import RunState
from approvals import gates
from approvals.models import ApprovalGate, TenantPolicy, ToolAllowance
from approvals.states import GateState
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.models import Inventive
from traces.models import TraceEvent

TOOLS = {
    "calculator": AllowanceMode.BY_PERMISSION,
    "current_time": AllowanceMode.BY_PERMISSION,
    "read_file": AllowanceMode.ALLOW,
    "list_directory": AllowanceMode.ALLOW,
    "write_file": AllowanceMode.BY_PERMISSION,
    "delete_file": AllowanceMode.BY_PERMISSION,
    "http_request": AllowanceMode.BY_PERMISSION,
}


@dataclass(frozen=True)
class Bench:
    """The cast, an agent, and shorthands for what the tests do over and over."""

    cast: Cast
    agent: Agent
    folder: Path
    rung: list[uuid.UUID]

    def submit(self, prompt: str, user: User | None = None, key: str | None = None) -> Run:
        with transaction.atomic():
            return runs.submit(
                tenant_id=self.agent.tenant_id,
                user=user or self.cast.alice,
                agent_id=self.agent.pk,
                prompt=prompt,
                idempotency_key=key or uuid.uuid4().hex,
                now=database_now(),
            )

    def advance(self, run: Run) -> Run:
        """Do what a worker does when the run's bell rings."""
        tasks.advance_run(run_id=str(run.id))
        return self.fresh(run)

    def fresh(self, run: Run) -> Run:
        return Run.objects.get(pk=run.pk)

    def go(self, prompt: str) -> Run:
        return self.advance(self.submit(prompt))

    def gates(self, run: Run) -> list[ApprovalGate]:
        """The gates of a run that wait for a person, in the order of their calls."""
        calls = [call.gate for call in self.calls(run)]
        return [gate for gate in calls if gate is not None and gate.state == GateState.PENDING]

    def gate(self, run: Run) -> ApprovalGate:
        (gate,) = self.gates(run)
        return gate

    def decide(self, gate: ApprovalGate, kind: str = "approve", reason: str = "", user: User | None = None) -> None:
        ballot = gates.Ballot(
            kind=kind,  # type: ignore[arg-type]
            digest=gate.digest,
            view_digest=gate.view_digest,
            idempotency_key=uuid.uuid4().hex,
            reason=reason,
        )
        with transaction.atomic():
            gates.decide(gate.id, user or self.cast.rita, ballot, now=database_now())

    def approve_all(self, run: Run) -> Run:
        """Approve whatever the run asks for until it has ended."""
        for _ in range(20):
            run = self.advance(run)
            if run.state != RunState.WAITING:
                return run
            for gate in self.gates(run):
                self.decide(gate)
        raise AssertionError(f"the run is still {run.state}")

    def cancel(self, run: Run, user: User | None = None) -> Run:
        with transaction.atomic():
            runs.cancel(run.id, user or self.cast.alice, now=database_now())
        return self.fresh(run)

    def calls(self, run: Run) -> list[ToolCall]:
        return list(ToolCall.objects.filter(run=run).select_related("gate").in_order())

    def told(self, run: Run) -> list[str]:
        """What the model was told of each call, as pages show it."""
        return [str(call.result_redacted) for call in self.calls(run)]

    def events(self, run: Run) -> list[str]:
        events = TraceEvent.objects.filter(trace_id=run.id).order_by("number")
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        return [event.kind for event in events]


@pytest.fixture
def inventive(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the scripted model writes in place of words of the prompt: keys, for example, which no prompt may hold."""
    model = Inventive()
    monkeypatch.setitem(PROVIDERS, "scripted", model)
    return model.values


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """The runs whose bell was rung; nothing is published."""
    bells: list[uuid.UUID] = []
    monkeypatch.setattr(queue, "_publish", lambda run_id, _after: bells.append(uuid.UUID(run_id)))
    return bells


def allow(tenant_id: int, tool: str, mode: AllowanceMode, **columns: Any) -> None:
    """Set one line of a tenant's allow-list."""
    ToolAllowance.objects.update_or_create(tenant_id=tenant_id, tool=tool, defaults={"mode": mode, **columns})


@pytest.fixture
def bench(transactional_db: None, cast: Cast, tmp_path: Path, rung: list[uuid.UUID]) -> Iterator[Bench]:  # noqa: ARG001 - the database with real commits
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "notes.txt").write_text("The meeting is on Monday.\n", encoding="utf-8")
    for tool, mode in TOOLS.items():
        allow(cast.acme.pk, tool, mode)
    TenantPolicy.objects.create(
        tenant=cast.acme, require_approval_for_permissions=["network", "filesystem"], approval_hold_seconds=0
    )
    agent = Agent.objects.create(
        tenant=cast.acme,
        name="Files and web",
        provider="scripted",
        sandbox={"filesystem": {"sandbox_root": str(folder)}},
    )
    yield Bench(cast, agent, folder, rung)
    runs.stay()
