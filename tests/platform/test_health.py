"""`/healthz` says that the process answers; `/readyz` names what is wrong and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from routekit_site import health
from routekit_site.supervision import Standing
from routekit_site.tenancy.heartbeats import SWEEP, last_sign, mark
from routekit_site.tenancy.models import Heartbeat

pytestmark = pytest.mark.django_db


@pytest.fixture
def swept() -> Callable[..., None]:
    """A worker swept `age` seconds ago, on a machine of `tier`."""

    def sweep(age: float = 1.0, tier: str = "T2") -> None:
        at = timezone.now() - timedelta(seconds=age)
        Heartbeat.objects.update_or_create(name=SWEEP, defaults={"at": at, "facts": {"tier": tier}})

    return sweep


def checks_of(client: Client) -> tuple[int, dict[str, dict[str, object]]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["checks"]


def test_healthz_looks_at_nothing_else(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_ready_when_everything_is(client: Client, swept: Callable[..., None]) -> None:
    swept()
    status, checks = checks_of(client)
    assert status == 200
    assert all(check["ok"] for check in checks.values())
    assert checks["sandbox"]["detail"] == "T2"


def test_a_site_that_never_swept_is_not_ready(client: Client) -> None:
    status, checks = checks_of(client)
    assert status == 503
    assert "are beat and a worker running" in str(checks["sweep"]["detail"])


def test_an_old_sweep_is_named(client: Client, swept: Callable[..., None]) -> None:
    swept(age=60)
    status, checks = checks_of(client)
    assert status == 503
    assert re.match(r"the last sweep was 6\d s ago", str(checks["sweep"]["detail"]))


def test_a_worker_without_a_kernel_boundary_is_not_ready(
    client: Client, swept: Callable[..., None], settings: Settings
) -> None:
    swept(tier="T0")
    assert checks_of(client)[1]["sandbox"]["ok"] is False
    settings.ROUTEKIT_SANDBOX_REQUIRE = "best_effort"
    assert checks_of(client)[1]["sandbox"]["ok"] is True


def test_a_migration_that_waits_is_named(client: Client, swept: Callable[..., None]) -> None:
    swept()
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied(*MigrationLoader(connection).graph.leaf_nodes("tenancy")[0])
    status, checks = checks_of(client)
    assert status == 503
    assert checks["migrations"]["detail"] == "1 to apply: run manage.py migrate"


def test_a_broker_that_is_down_is_named_without_its_address(
    client: Client, swept: Callable[..., None], settings: Settings
) -> None:
    swept()
    settings.REDIS_URL = "redis://:a-password@127.0.0.1:1/0"
    status, checks = checks_of(client)
    assert status == 503
    assert checks["broker"]["detail"] == "no answer (ConnectionError)"


def test_a_dead_thread_of_this_process_is_named(
    client: Client, swept: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    swept()
    monkeypatch.setattr(health, "standings", lambda: [Standing("worker", working=False, restarts=3)])
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["threads"]["detail"] == "not working now: worker"
    assert answer.json()["threads"] == {"worker": {"restarts": 3}}


def test_the_command_says_the_same_and_fails_when_something_is_wrong(swept: Callable[..., None]) -> None:
    swept()
    out = StringIO()
    call_command("health", stdout=out)
    assert "ok   sweep: " in out.getvalue()
    swept(age=60)
    with pytest.raises(CommandError, match="something is wrong"):
        call_command("health", "sweep", stdout=out)
    assert "FAIL sweep: " in out.getvalue()
    with pytest.raises(CommandError, match="no such check: weather"):
        call_command("health", "weather")


def test_a_sign_of_life_is_written_at_most_every_few_seconds() -> None:
    start = timezone.now()
    mark(SWEEP, start, {"tier": "T1"})
    mark(SWEEP, start + timedelta(seconds=1), {"tier": "T2"})
    sign = last_sign(SWEEP, start + timedelta(seconds=2))
    assert sign is not None
    assert (sign.age, sign.facts) == (2.0, {"tier": "T1"})
    mark(SWEEP, start + timedelta(seconds=4), {"tier": "T2"})
    assert last_sign(SWEEP, start + timedelta(seconds=4)) == (type(sign)(age=0.0, facts={"tier": "T2"}))
