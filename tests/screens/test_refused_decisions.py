"""A decision that is refused moves nothing and is on record all the same: who, when, on which call, and why."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from routekit_site.tenancy import limits
from routekit_site.tenancy.models import Membership, User
from tests.fixtures.gates import House, Opened
from traces import ledger
from traces.models import LedgerEntry, TraceEvent

ClientOf = Callable[[User], Client]
JSON = {"accept": "application/json"}


def decide(client: Client, opened: Opened, **changes: str) -> Any:
    gate = opened.gate
    form = {
        "kind": "approve",
        "digest": gate.digest,
        "view_digest": gate.view_digest,
        "idempotency_key": uuid.uuid4().hex,
    }
    return client.post(f"/queue/{gate.pk}/decide/", form | changes, headers=JSON)


def on_record(house: House, actor: str) -> dict[str, Any]:
    """The one refusal in the ledger, which the trace has too."""
    entry = LedgerEntry.objects.get(tenant=house.cast.acme, kind="decision", actor=actor)
    event = TraceEvent.objects.get(kind="decision.refused")
    facts = ledger.facts_of(entry)
    assert event.actor == actor
    assert event.payload["refused"] == facts["refused"]
    assert ledger.verify(house.cast.acme.pk) == []
    return facts


def test_rights_taken_away_between_page_and_click_are_a_403_on_record(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(), client_of(house.cast.rita)
    rita.get(f"/queue/{opened.gate.pk}/")
    Membership.objects.filter(user=house.cast.rita).update(role="developer")
    before = opened.row()
    assert decide(rita, opened).status_code == 403
    assert opened.row() == before
    facts = on_record(house, "rita")
    assert (facts["refused"], facts["kind"], facts["gate"]) == ("NotAllowed", "approve", str(opened.gate.pk))
    assert (facts["digest"], facts["policy_digest"]) == (opened.gate.digest, opened.gate.policy_digest)
    assert facts["redactor_version"] == opened.gate.redactor_version


def test_somebody_who_left_the_tenant_is_on_record_too(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(), client_of(house.cast.rita)
    Membership.objects.filter(user=house.cast.rita).delete()
    assert decide(rita, opened).status_code == 404
    facts = on_record(house, "no member")
    assert (facts["refused"], facts["person"]) == ("NotVisible", house.cast.rita.pk)


def test_somebody_of_another_tenant_is_on_record_without_a_name(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    assert decide(client_of(house.cast.ravi), opened).status_code == 404
    assert on_record(house, "no member")["refused"] == "NotVisible"
    assert "ravi" not in str(list(LedgerEntry.objects.values())) + str(list(TraceEvent.objects.values()))


def test_nobody_fills_the_ledger_with_refusals(client_of: ClientOf, house: House, settings: Any) -> None:
    limits._limiter.cache_clear()
    settings.ROUTEKIT_DECIDE_RATE = "3 per hour"
    opened, audra = house.open(), client_of(house.cast.audra)
    assert [decide(audra, opened).status_code for _ in range(5)] == [403, 403, 403, 429, 429]
    assert LedgerEntry.objects.filter(kind="decision").count() == 3


@pytest.mark.parametrize("changed", ["digest", "view_digest"])
def test_a_stale_page_is_on_record_with_what_it_showed(client_of: ClientOf, house: House, changed: str) -> None:
    opened = house.open()
    forged = {changed: "0" * 64}
    assert decide(client_of(house.cast.rita), opened, **forged).status_code == 409
    facts = on_record(house, "rita")
    assert (facts["refused"], facts[f"sent_{changed}"]) == ("StaleView", "0" * 64)


def test_a_late_vote_and_the_submitters_own_are_on_record(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    assert decide(client_of(house.cast.rolf), opened).status_code == 409
    assert "Rita Example" in on_record(house, "rolf")["why"]
    assert decide(client_of(house.cast.alice), opened).status_code == 403
    assert LedgerEntry.objects.filter(kind="decision", actor="alice").count() == 1


def test_what_was_sent_goes_into_the_record_short_and_redacted(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    sent = {"digest": "bob.builder@example.com", "reason": "mail bob.builder@example.com"}
    assert decide(client_of(house.cast.rita), opened, **sent).status_code == 409
    stored = str(list(LedgerEntry.objects.values())) + str(list(TraceEvent.objects.values()))
    assert "bob.builder" not in stored


def test_an_edit_that_is_refused_is_on_record(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    answer = client_of(house.cast.alice).post(f"/queue/{opened.gate.pk}/edit/", {"argument-text": "x"}, headers=JSON)
    assert answer.status_code == 403
    assert on_record(house, "alice")["kind"] == "edit"
