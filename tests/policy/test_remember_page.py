"""The page on which an approval is remembered: who gets it, what it proposes, and that the browser sends no pattern."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from approvals.models import ApprovalGate, ToolAllowance, ToolRule
from approvals.policy_facts import rule_facts
from routekit_site.tenancy.models import User
from tests.fixtures.gates import House, Opened

ClientOf = Callable[[User], Client]


@pytest.fixture
def approved(house: House) -> Opened:
    """A call that rita approved, with one like it that she rejected before."""
    past = house.open({"path": "reports/old.md", "text": "hello"})
    house.decide(past, house.cast.rita, past.ballot("reject"))
    opened = house.open({"path": "reports/a.md", "text": "hello"})
    house.decide(opened, house.cast.rita)
    recently = timezone.now() - timedelta(hours=1)  # the page has a clock of its own
    ApprovalGate.objects.update(opened_at=recently, decide_by=recently + timedelta(days=1))
    return opened


def url(opened: Opened) -> str:
    return f"/queue/{opened.gate.pk}/remember/"


def form(**changes: Any) -> dict[str, Any]:
    return {"reach": "similar", "scope": "agent", "hours": "24", "max_uses": "100"} | changes


def test_a_reviewer_sees_three_proposals_with_their_back_tests(
    house: House, approved: Opened, client_of: ClientOf
) -> None:
    rita = client_of(house.cast.rita)
    assert url(approved) in rita.get(f"/queue/{approved.gate.pk}/").text
    page = " ".join(rita.get(url(approved)).text.split())
    assert page.count('type="radio"') == 3
    assert "with exactly these arguments" in page
    assert "it would have passed 1 call, of which a person rejected 1" in page
    assert "For any agent" in page
    assert "Only for Files and web" in rita.get(url(approved), {"scope": "tenant"}).text


def test_the_rule_is_derived_from_the_stored_call(house: House, approved: Opened, client_of: ClientOf) -> None:
    rita = client_of(house.cast.rita)
    sent = form(hours="2", max_uses="3", constraints="[]", tool="run_python", tenant=house.cast.globex.pk, agent_id="")
    answer = rita.post(url(approved), sent, follow=True)
    assert answer.redirect_chain == [(f"/queue/{approved.gate.pk}/", 302)]
    assert "Remembered: write_file by Files and web" in answer.text
    rule = ToolRule.objects.get()
    assert (rule.tenant, rule.tool, rule.agent_id, rule.max_uses) == (house.cast.acme, "write_file", "7", 3)
    assert rule.expires_at - rule.made_at == timedelta(hours=2)
    assert [(c.pointer, c.value) for c in rule_facts(rule).constraints] == [("/path", "reports")]


@pytest.mark.parametrize(
    "changes",
    [
        {"hours": "0"},
        {"hours": "721"},
        {"hours": ""},
        {"max_uses": "0"},
        {"max_uses": ""},
        {"reach": "all"},
        {"scope": "house"},
    ],
)
def test_no_rule_without_an_end(house: House, approved: Opened, client_of: ClientOf, changes: dict[str, str]) -> None:
    assert client_of(house.cast.rita).post(url(approved), form(**changes)).status_code == 422
    assert not ToolRule.objects.exists()


def test_what_policy_would_not_listen_to_is_refused_in_words(
    house: House, approved: Opened, client_of: ClientOf
) -> None:
    ToolAllowance.objects.update(approvals_needed=2)
    rita = client_of(house.cast.rita)
    assert "several people" in rita.get(url(approved)).text
    answer = rita.post(url(approved), form())
    assert answer.status_code == 422
    assert "several people" in answer.text
    assert not ToolRule.objects.exists()


@pytest.mark.parametrize(
    ("name", "status"), [("alice", 403), ("audra", 403), ("carol", 404), ("ada", 404), ("oscar", 404)]
)
def test_nobody_else_remembers(house: House, approved: Opened, client_of: ClientOf, name: str, status: int) -> None:
    client = client_of(getattr(house.cast, name))
    assert client.get(url(approved)).status_code == status
    assert client.post(url(approved), form()).status_code == status
    assert not ToolRule.objects.exists()


def test_only_an_approval_that_stands_is_remembered(house: House, client_of: ClientOf) -> None:
    rita = client_of(house.cast.rita)
    waiting = house.open()
    assert url(waiting) not in rita.get(f"/queue/{waiting.gate.pk}/").text
    assert rita.post(url(waiting), form()).status_code == 409
    house.decide(waiting, house.cast.rolf, waiting.ballot("reject"))
    assert rita.get(url(waiting)).status_code == 409
    assert not ToolRule.objects.exists()


def test_a_signed_out_person_is_sent_to_sign_in(house: House, approved: Opened) -> None:
    assert house.now
    assert Client().get(url(approved)).status_code == 302
    assert Client().post(url(approved), form()).status_code == 302
    assert not ToolRule.objects.exists()
