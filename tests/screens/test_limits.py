"""A person submits and approves only so fast; rejecting is never held up; Redis counts for all processes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from agents.models import Agent, Run
from routekit_site.tenancy import limits
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House, Opened
from tests.fixtures.services import Services, free_port

ClientOf = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _fresh_counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A Redis that does not answer at once lets people work, too: on a busy machine that would be one job too many.
    monkeypatch.setattr(limits, "_PATIENCE", {"socket_timeout": 60, "socket_connect_timeout": 60})
    limits._limiter.cache_clear()
    yield
    limits._limiter.cache_clear()


def job(agent: Agent) -> dict[str, Any]:
    return {"agent": agent.pk, "prompt": "read notes.txt", "idempotency_key": uuid.uuid4().hex}


def ballot(opened: Opened, kind: str) -> dict[str, str]:
    gate = opened.gate
    sent = {"kind": kind, "digest": gate.digest, "view_digest": gate.view_digest}
    return {**sent, "idempotency_key": uuid.uuid4().hex, "reason": "Not needed."}


def test_the_third_job_in_a_minute_is_too_fast(client_of: ClientOf, cast: Cast, agent: Agent, settings: Any) -> None:
    settings.ROUTEKIT_SUBMIT_RATE = "2/minute"
    client = client_of(cast.alice)
    assert [client.post("/jobs/new/", job(agent)).status_code for _ in range(3)] == [302, 302, 429]
    refused = client.post("/jobs/new/", job(agent))
    assert 0 < int(refused["Retry-After"]) <= 60
    assert "That came too often" in refused.text
    told = client.post("/jobs/new/", job(agent), headers={"accept": "application/json"})
    assert told.status_code == 429
    assert "then send it again" in told.json()["error"]
    assert Run.objects.count() == 2
    # Somebody else is not held up by alice.
    assert client_of(cast.adam).post("/jobs/new/", job(agent)).status_code == 302


def test_what_is_wrong_is_said_without_being_counted(
    client_of: ClientOf, cast: Cast, agent: Agent, settings: Any
) -> None:
    settings.ROUTEKIT_SUBMIT_RATE = "1/minute"
    client = client_of(cast.alice)
    for _ in range(3):
        assert client.post("/jobs/new/", {**job(agent), "prompt": " "}).status_code == 422
    assert client.post("/jobs/new/", job(agent)).status_code == 302


def test_approving_is_limited_and_rejecting_never(client_of: ClientOf, house: House, settings: Any) -> None:
    settings.ROUTEKIT_DECIDE_RATE = "1/minute"
    client = client_of(house.cast.rita)
    statuses = []
    for kind in ("approve", "approve", "reject", "reject"):
        opened = house.open()
        statuses.append(client.post(f"/queue/{opened.gate.pk}/decide/", ballot(opened, kind)).status_code)
    assert statuses == [302, 429, 302, 302]


def test_all_web_processes_count_together(
    client_of: ClientOf, cast: Cast, agent: Agent, settings: Any, services: Services
) -> None:
    settings.ROUTEKIT_SUBMIT_RATE, settings.REDIS_URL = "2/minute", services.redis_url
    statuses = []
    for _ in range(3):
        statuses.append(client_of(cast.alice).post("/jobs/new/", job(agent)).status_code)
        # Another process has a limiter of its own.
        limits._limiter.cache_clear()
    assert statuses == [302, 302, 429]


def test_a_redis_that_is_away_lets_people_work(client_of: ClientOf, cast: Cast, agent: Agent, settings: Any) -> None:
    settings.ROUTEKIT_SUBMIT_RATE = "1/minute"
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    client = client_of(cast.alice)
    assert [client.post("/jobs/new/", job(agent)).status_code for _ in range(3)] == [302] * 3
