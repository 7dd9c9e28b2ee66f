"""Prometheus metrics: for the operator's token only, of the whole site, without a word of content."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from routekit_site import doctor
from routekit_site.tenancy import slow_queries
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.heartbeats import SWEEP, mark
from tests.fixtures.gates import House
from tests.gates.conftest import house
from traces import meters, recorder
from traces.kinds import EventKind
from traces.models import RedactionPolicy

__all__ = ["house"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def token(settings: Settings) -> str:
    settings.ROUTEKIT_METRICS_TOKEN = secrets.token_urlsafe(24)
    return str(settings.ROUTEKIT_METRICS_TOKEN)


def figures(client: Client, token: str) -> dict[tuple[str, ...], float]:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_there_is_no_such_page_without_a_token_set(client: Client, settings: Settings) -> None:
    settings.ROUTEKIT_METRICS_TOKEN = None
    assert client.get("/metrics").status_code == 404


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", "Basic x", "Bearer \u00fc"])
@pytest.mark.usefixtures("token")
def test_a_wrong_token_reads_nothing(client: Client, given: str) -> None:
    answer = client.get("/metrics", headers={"Authorization": given})
    assert answer.status_code == 401
    assert b"routekit_" not in answer.content


def test_the_queue_its_age_and_the_decisions_are_counted(client: Client, token: str, house: House) -> None:
    now = database_now()
    house = House(house.cast, now - timedelta(seconds=90), house.numbers)
    house.open()
    house.decide(house.open(), house.cast.rita, after=30)
    found = figures(client, token)
    assert found["routekit_gates_pending", "acme"] == 1
    assert 90 <= found["routekit_gate_oldest_age_seconds", "acme"] < 600
    assert found["routekit_gate_decision_seconds", "0.95"] == pytest.approx(30)


def test_violations_health_and_the_sweep_are_told(client: Client, token: str, house: House) -> None:
    now = database_now()
    mark(SWEEP, now, {"tier": "T2"})
    run = House(house.cast, now, house.numbers).run(house.cast.alice)
    recorder.record(run_id=run, kind=EventKind.VIOLATION, payload={"class": "F1"}, now=now)
    found = figures(client, token)
    assert found["routekit_sandbox_violations_last_day", "acme"] == 1
    assert found["routekit_check_ok", "database"] == 1
    assert found["routekit_sweep_age_seconds",] < 60


def test_a_failed_redaction_raises_an_alert(client: Client, token: str, house: House) -> None:
    metric = ("routekit_redaction_failed_last_day", "acme")
    assert metric not in figures(client, token)
    run = House(house.cast, database_now(), house.numbers).run(house.cast.alice)
    RedactionPolicy.objects.create(tenant=house.cast.acme, hook={"mode": "no such mode"}, version=7002)
    recorder.record(run_id=run, kind=EventKind.NOTE, payload={"text": "hello"}, now=database_now())
    assert figures(client, token)[metric] == 1
    (complaint,) = dict(doctor.examine())["redaction"] or []
    assert complaint.where == "redaction of acme"
    assert "ValidationError" in complaint.what


def test_the_delay_of_the_feed_is_measured(client: Client, token: str) -> None:
    before = figures(client, token)["routekit_feed_entries_total",]
    meters.published((database_now() - timedelta(seconds=2)).isoformat())
    found = figures(client, token)
    assert found["routekit_feed_entries_total",] == before + 1
    assert found["routekit_feed_delay_seconds_bucket", "+Inf"] >= 1


def test_a_slow_statement_is_counted_and_logged_without_its_values(
    client: Client, token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # On a busy machine any statement may take a second: here none is slow but one.
    monkeypatch.setattr(slow_queries, "SLOW_SECONDS", 3600.0)
    before = figures(client, token)["routekit_slow_queries_total",]
    assert "a statement took" not in caplog.text
    with monkeypatch.context() as patched, connection.cursor() as cursor:
        patched.setattr(slow_queries, "SLOW_SECONDS", 0.0)
        cursor.execute("SELECT %s,\n  1", ["rita@example.org"])
    assert figures(client, token)["routekit_slow_queries_total",] == before + 1
    assert "s: SELECT %s, 1" in caplog.text
    assert "rita@" not in caplog.text
