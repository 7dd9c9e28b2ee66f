"""The demo's week: made by the real engine, so everything in it holds, and every screen has something to show."""

from __future__ import annotations

import uuid
from pathlib import Path

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db.models import Max
from django.utils import timezone
from pytest_django import Settings

from agents import queue
from agents.demo.week import NotInDemoMode, page_served, play
from agents.models import Agent, Run, ToolCall
from approvals.models import ApprovalGate, ToolRule
from approvals.states import GateState
from approvals.verification import verify_gates
from routekit_site.tenancy.models import Tenant
from tests.fixtures.services import free_port
from traces import ledger

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_week_of_work_is_there_on_the_first_visit(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_publish", lambda _run_id, _after: None)
    settings.DEMO, settings.ROUTEKIT_DATA_DIR = True, tmp_path
    settings.ROUTEKIT_BIND = f"127.0.0.1:{free_port()}"
    call_command("load_demo", "--week", stdout=None)
    tenant = Tenant.objects.get(slug="meridian")

    runs = Run.objects.in_tenant(tenant.pk)
    assert {"succeeded", "cancelled", "waiting"} <= set(runs.values_list("state", flat=True))
    assert runs.count() >= 30
    span = max(runs.values_list("created_at", flat=True)) - min(runs.values_list("created_at", flat=True))
    assert span.days >= 5
    gates = ApprovalGate.objects.in_tenant(tenant.pk)
    told = {GateState.PENDING, GateState.SPENT, GateState.REJECTED, GateState.EXPIRED, GateState.WITHDRAWN}
    assert told <= set(gates.values_list("state", flat=True))
    latest = gates.aggregate(opened=Max("opened_at"), decided=Max("decided_at"))
    assert max(latest.values()) <= timezone.now()
    assert {"succeeded", "denied", "rejected"} <= set(
        ToolCall.objects.filter(run__tenant=tenant).values_list("state", flat=True)
    )
    assert ToolRule.objects.get(tenant=tenant).uses > 0
    assert not list(ledger.verify(tenant.pk))
    assert not [finding for finding in verify_gates(tenant.pk) if finding.faults]

    before = runs.count()
    call_command("load_demo", "--week", stdout=None)
    assert runs.count() == before


def test_the_clock_is_never_moved_in_a_real_installation(settings: Settings) -> None:
    settings.DEMO = False
    with pytest.raises(NotInDemoMode):
        play(Agent(), "https://example.org/", timezone.now())
    assert not Run.objects.filter(pk=uuid.uuid4()).exists()


def test_while_the_week_is_made_the_site_is_starting() -> None:
    address = f"http://127.0.0.1:{free_port()}/demo/page/"
    with page_served(address, "<p>Open</p>"):
        assert httpx.get(address).text == "<p>Open</p>"
        assert httpx.get(address.replace("/demo/page/", "/readyz")).status_code == 503


def test_a_page_that_is_no_address_is_refused_in_a_sentence(settings: Settings) -> None:
    settings.DEMO = True
    with pytest.raises(CommandError, match="--page: must be an address"):
        call_command("load_demo", "--page", "nonsense")
    assert not Tenant.objects.exists()
