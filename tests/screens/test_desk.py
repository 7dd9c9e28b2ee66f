"""What a person arranges for themselves: settings, saved filters, snoozes. Theirs alone, and nobody else's to touch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta

import pytest
from django.test import Client

from approvals.models import ApprovalGate, PersonalSettings, SavedFilter, Snooze
from routekit_site.tenancy.models import Membership, User
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]
JSON = {"Accept": "application/json"}


def _settings(**changes: str) -> dict[str, str]:
    return {"time_zone": "Europe/Stockholm", "quiet_from": "22:00", "quiet_to": "07:00", **changes}


def test_settings_are_saved_and_shown_again(house: House, client_of: ClientOf) -> None:
    client = client_of(house.cast.rita)
    page = client.get("/settings/").text
    assert "rita@example.org" in page or "sends no e-mail" in page
    answer = client.post("/settings/", _settings(email_waiting="on"), follow=True)
    assert "Saved." in answer.text
    stored = PersonalSettings.objects.get(user=house.cast.rita)
    assert (stored.email_waiting, stored.email_decided, stored.single_keys) == (True, False, False)
    assert (stored.quiet_from, stored.quiet_to, stored.time_zone) == (time(22), time(7), "Europe/Stockholm")
    page = client.get("/settings/").text
    assert 'value="22:00"' in page
    assert 'data-keys="off" data-quiet="22:00 07:00 Europe/Stockholm"' in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"time_zone": "Mars/Olympus"}, "There is no such time zone"),
        ({"time_zone": "../../etc/passwd"}, "There is no such time zone"),
        ({"quiet_to": ""}, "Give both ends"),
        ({"quiet_from": "late"}, "valid time"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    house: House, client_of: ClientOf, changes: dict[str, str], words: str
) -> None:
    answer = client_of(house.cast.rita).post("/settings/", _settings(**changes))
    assert answer.status_code == 422
    assert words in answer.text
    assert not PersonalSettings.objects.exists()
    typed = next(value for value in _settings(**changes).values() if value)
    assert typed in answer.text


def test_each_persons_settings_are_their_own(house: House, client_of: ClientOf) -> None:
    client_of(house.cast.rita).post("/settings/", _settings() | {"user": str(house.cast.rolf.pk)})
    assert not PersonalSettings.objects.filter(user=house.cast.rolf).exists()
    assert Client().get("/settings/").status_code == 302
    assert client_of(house.cast.oscar).get("/settings/").status_code == 200, "who belongs nowhere has settings too"


def test_the_switch_for_single_keys_is_kept_on_the_server(house: House, client_of: ClientOf) -> None:
    client = client_of(house.cast.rita)
    assert 'data-keys="on"' in client.get("/queue/").text
    assert client.post("/settings/keys/", {"on": "no"}, headers=JSON).json() == {"on": False}
    assert 'data-keys="off"' in client.get("/queue/").text
    assert Client().post("/settings/keys/", {"on": "no"}, headers=JSON).status_code == 401


def test_a_snooze_is_kept_for_this_person_alone_and_ends(house: House, client_of: ClientOf) -> None:
    gate = house.open().gate
    rita, rolf = client_of(house.cast.rita), client_of(house.cast.rolf)
    until = rita.post(f"/queue/{gate.pk}/snooze/", {"on": "yes"}, headers=JSON).json()["asleep_until"]
    assert until is not None
    assert "data-asleep=" in rita.get("/queue/").text
    assert rita.get("/queue/rows.json").json()["rows"][0]["asleep_until"] == until
    assert "data-asleep=" not in rolf.get("/queue/").text
    Snooze.objects.update(until=house.now - timedelta(seconds=1))
    assert "data-asleep=" not in rita.get("/queue/").text
    rita.post(f"/queue/{gate.pk}/snooze/", {"on": "yes"}, headers=JSON)
    assert rita.post(f"/queue/{gate.pk}/snooze/", {"on": "no"}, headers=JSON).json() == {"asleep_until": None}
    assert not Snooze.objects.exists()
    assert ApprovalGate.objects.get().state == "pending"


def test_only_reviewers_of_the_tenant_can_snooze(house: House, client_of: ClientOf) -> None:
    gate = house.open().gate
    for person, status in ((house.cast.alice, 403), (house.cast.ravi, 404), (house.cast.oscar, 404)):
        assert client_of(person).post(f"/queue/{gate.pk}/snooze/", headers=JSON).status_code == status
    assert not Snooze.objects.exists()


def test_a_filter_is_saved_used_and_deleted(
    house: House, client_of: ClientOf, open_risky: Callable[[], object]
) -> None:
    house.open()
    open_risky()
    client = client_of(house.cast.rita)
    answer = client.post("/queue/filters/", {"name": " My  files ", "q": "write", "risk": ""}, follow=True)
    assert answer.redirect_chain[0][0] == "/queue/?q=write&risk="
    assert "My files" in answer.text
    assert "Delete archive.csv" not in answer.text
    client.post("/queue/filters/", {"name": "My files", "q": "delete", "risk": "high"})
    (saved,) = SavedFilter.objects.all()
    assert (saved.q, saved.risk) == ("delete", "high")
    assert "My files" not in client_of(house.cast.rolf).get("/queue/").text
    for person, status in ((house.cast.rolf, 404), (house.cast.alice, 403), (house.cast.ravi, 404)):
        assert client_of(person).post(f"/queue/filters/{saved.pk}/delete/").status_code == status
    client.post(f"/queue/filters/{saved.pk}/delete/")
    assert not SavedFilter.objects.exists()


@pytest.mark.parametrize(
    "sent",
    [
        {"name": "", "q": "x", "risk": ""},
        {"name": "n" * 41, "q": "x", "risk": ""},
        {"name": "nothing", "q": " ", "risk": ""},
        {"name": "risk", "q": "", "risk": "deadly"},
        {"name": "long", "q": "x" * 201, "risk": ""},
        {"name": "zero\u200bwidth", "q": "x", "risk": ""},
        {"name": "nul", "q": "x\0y", "risk": ""},
    ],
)
def test_a_filter_that_can_not_be_saved_is_refused_in_words(
    house: House, client_of: ClientOf, sent: dict[str, str]
) -> None:
    answer = client_of(house.cast.rita).post("/queue/filters/", sent, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert not SavedFilter.objects.exists()


def test_twenty_filters_are_enough(house: House, client_of: ClientOf) -> None:
    client = client_of(house.cast.rita)
    for number in range(21):
        answer = client.post("/queue/filters/", {"name": f"f{number}", "q": "x", "risk": ""}, headers=JSON)
    assert "delete one first" in answer.json()["error"]
    assert SavedFilter.objects.count() == 20


def test_filters_belong_to_a_tenant_too(house: House, client_of: ClientOf) -> None:
    Membership.objects.create(user=house.cast.rita, tenant=house.cast.globex, role="reviewer")
    client = client_of(house.cast.rita)
    client.post("/queue/filters/", {"name": "In Acme", "q": "x", "risk": ""})
    client.post("/tenant/", {"tenant": house.cast.globex.pk})
    assert "In Acme" not in client.get("/queue/").text
