"""Soft claims: others are told who has taken a call upon themselves, and nobody is kept from deciding."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from approvals.models import Claim
from routekit_site.tenancy.models import User
from tests.fixtures.gates import House, Opened
from traces.models import FeedEntry

ClientOf = Callable[[User], Client]


def claim(client: Client, opened: Opened, *, take: bool = False) -> Any:
    """Claim a call as the page's script does."""
    fields = {"take": "1" if take else "0"}
    return client.post(f"/queue/{opened.gate.pk}/claim/", fields, headers={"accept": "application/json"})


def test_the_first_to_open_a_call_claims_it_and_others_are_told(client_of: ClientOf, house: House) -> None:
    opened, rita, rolf = house.open(), client_of(house.cast.rita), client_of(house.cast.rolf)
    assert claim(rita, opened).json()["mine"] is True
    told = claim(rolf, opened).json()
    assert (told["by"], told["mine"]) == ("Rita Example", False)
    assert "Rita Example</b> has claimed this." in rolf.get(f"/queue/{opened.gate.pk}/").text
    (row,) = rolf.get("/queue/rows.json").json()["rows"]
    assert row["claimed_by"] == "Rita Example"


def test_a_heartbeat_renews_a_claim_and_makes_no_noise(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(), client_of(house.cast.rita)
    first = claim(rita, opened).json()["until"]
    entries = FeedEntry.objects.filter(topic="claim").count()
    assert claim(rita, opened).json()["until"] > first
    assert FeedEntry.objects.filter(topic="claim").count() == entries == 1


def test_a_takeover_is_told_to_both(client_of: ClientOf, house: House) -> None:
    opened, rita, rolf = house.open(), client_of(house.cast.rita), client_of(house.cast.rolf)
    claim(rita, opened)
    told = claim(rolf, opened, take=True).json()
    assert (told["mine"], told["taken_from"]) == (True, "Rita Example")
    entry = FeedEntry.objects.filter(topic="claim").latest("number")
    assert entry.facts == {"by": house.cast.rolf.pk, "was": house.cast.rita.pk, "tool": "write_file"}
    assert claim(rita, opened).json()["by"] == "Rolf Example"
    assert "You have claimed this, taken over from Rita Example." in rolf.get(f"/queue/{opened.gate.pk}/").text


def test_a_claim_that_is_not_renewed_ends_after_two_minutes(client_of: ClientOf, house: House) -> None:
    opened, rita, rolf = house.open(), client_of(house.cast.rita), client_of(house.cast.rolf)
    claim(rita, opened)
    past = Claim.objects.get()
    assert past.until - past.since == timedelta(minutes=2)
    Claim.objects.update(since=past.since - timedelta(minutes=3), until=past.until - timedelta(minutes=3))
    assert rita.get(f"/queue/{opened.gate.pk}/claim/").json()["by"] == ""
    told = claim(rolf, opened).json()
    assert (told["mine"], told["taken_from"]) == (True, "")


def test_a_claim_keeps_nobody_from_deciding(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(), client_of(house.cast.rita)
    claim(rita, opened)
    house.decide(opened, house.cast.rolf)
    assert opened.fresh().state == "approved"
    assert claim(rita, opened).json()["by"] == ""
    assert claim(rita, opened, take=True).status_code == 409
    assert "has claimed" not in rita.get(f"/queue/{opened.gate.pk}/").text


def test_a_claim_is_given_up_by_its_holder_only(client_of: ClientOf, house: House) -> None:
    opened, rita, rolf = house.open(), client_of(house.cast.rita), client_of(house.cast.rolf)
    claim(rita, opened)
    rolf.post(f"/queue/{opened.gate.pk}/release/")
    assert rolf.get(f"/queue/{opened.gate.pk}/claim/").json()["by"] == "Rita Example"
    assert rita.post(f"/queue/{opened.gate.pk}/release/").status_code == 302
    assert rolf.get(f"/queue/{opened.gate.pk}/claim/").json()["by"] == ""


@pytest.mark.parametrize(("name", "status"), [("alice", 403), ("audra", 403), ("carol", 404), ("ravi", 404)])
def test_who_cannot_decide_cannot_claim(client_of: ClientOf, house: House, name: str, status: int) -> None:
    opened = house.open()
    assert claim(client_of(getattr(house.cast, name)), opened).status_code == status
    assert not Claim.objects.exists()
