"""Fixtures of the screens' tests: gates and agents that are open now, by the clock that the views read."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from django.db import transaction
from django.utils import timezone

from agents.models import Agent, Run
from approvals import gates
from approvals.effects import Reversibility, ToolPermission
from approvals.manifests import ToolManifest
from approvals.models import ToolAllowance
from approvals.presentation import PresentationContext, present
from tests.fixtures.cast import Cast
from tests.fixtures.gates import WRITE_FILE, House, Opened, verdict

DELETE_FILE: ToolManifest = replace(
    WRITE_FILE, name="delete_file", reversibility=Reversibility.IRREVERSIBLE, permissions=frozenset(ToolPermission)
)


@pytest.fixture
def now() -> datetime:
    """The present: the views go by the database's clock."""
    return timezone.now()


@pytest.fixture
def house(cast: Cast, now: datetime) -> House:
    """The tenant acme with nothing in it yet."""
    return House(cast, now, itertools.count(1))


@pytest.fixture
def open_risky(house: House) -> Callable[[], Opened]:
    """Open a gate of high risk: a call that can't be taken back."""

    def risky() -> Opened:
        arguments = {"path": "archive.csv"}
        submitter = house.cast.alice
        binding = replace(
            house.binding(arguments, submitter, house.run(submitter)),
            tool=DELETE_FILE.name,
            tool_schema_digest=DELETE_FILE.schema_digest,
            permissions=tuple(sorted(DELETE_FILE.permissions)),
            reversibility=DELETE_FILE.reversibility,
        )
        needs = verdict()
        context = PresentationContext(needs, submitter.pk, submitter.display_name, "Files and web", 1)
        shown = present(
            tenant_id=house.cast.acme.pk,
            tool=DELETE_FILE.name,
            sentence="Delete archive.csv",
            arguments=arguments,
            manifest=DELETE_FILE,
            context=context,
        )
        request = gates.GateRequest(binding, DELETE_FILE, needs, shown, "Files and web")
        with transaction.atomic():
            return Opened(gates.open_gate(request, now=house.now), binding, needs)

    return risky


@pytest.fixture
def agent(cast: Cast) -> Agent:
    """Acme's agent, with one tool allowed, one to ask for and one denied."""
    for tool, mode in (("calculator", "allow"), ("read_file", "ask"), ("http_request", "deny")):
        ToolAllowance.objects.create(tenant=cast.acme, tool=tool, mode=mode)
    return Agent.objects.create(tenant=cast.acme, name="Files and web", description="Reads and writes its folder")


@pytest.fixture
def submit(cast: Cast, agent: Agent, now: datetime) -> Callable[..., Run]:
    """Submit a job of alice's."""
    from agents import runs  # noqa: PLC0415 - the models it reads are ready only with the fixtures

    def submitted(prompt: str = "read notes.txt") -> Run:
        with transaction.atomic():
            return runs.submit(
                tenant_id=cast.acme.pk,
                user=cast.alice,
                agent_id=agent.pk,
                prompt=prompt,
                idempotency_key=uuid.uuid4().hex,
                now=now,
            )

    return submitted
