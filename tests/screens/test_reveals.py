"""A masked value is shown on request: to whoever may, with a reason, one at a time, on the record, to nobody else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from approvals.models import ApprovalGate, Reveal
from routekit_site.tenancy.models import User
from tests.fixtures.gates import House, Opened
from traces import ledger
from traces.models import FeedEntry, LedgerEntry, TraceEvent

ClientOf = Callable[[User], Client]
ADDRESS, OTHER = "bob.builder@example.com", "wendy.b@example.org"
ARGUMENTS = {"path": "a.txt", "text": f"Write to {ADDRESS} and {OTHER}, and again to {ADDRESS}.\n"}


def ask(
    client: Client, opened: Opened, mark: str, reason: str = "Is it the customer's?", *, script: bool = True
) -> Any:
    """Ask for a value, as a script or by the plain form."""
    headers = {"accept": "application/json"} if script else {}
    return client.post(f"/queue/{opened.gate.pk}/reveal/", {"mark": mark, "reason": reason}, headers=headers)


def marks(client: Client, opened: Opened) -> list[str]:
    """The marks of the masked values on the call's page, in order."""
    return re.findall(r'<li data-mark="([0-9a-f]{16})">', client.get(f"/queue/{opened.gate.pk}/").text)


def test_one_value_is_shown_to_one_person_and_stored_by_nobody(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(ARGUMENTS), client_of(house.cast.rita)
    first, second = marks(rita, opened)
    answer = ask(rita, opened, first)
    assert answer.json() == {"argument": "text", "label": "email", "value": ADDRESS}
    assert "no-store" in answer["Cache-Control"]
    assert OTHER not in answer.text
    assert ask(rita, opened, second).json()["value"] == OTHER
    assert not [row for row in everything_stored() if ADDRESS in row or OTHER in row]
    for page in (f"/queue/{opened.gate.pk}/", f"/queue/{opened.gate.pk}.json", "/queue/", "/queue/rows.json"):
        assert ADDRESS not in rita.get(page).text


def test_a_value_inside_an_encoded_document_is_shown_like_any_other(client_of: ClientOf, house: House) -> None:
    text = json.dumps({"to": OTHER, "inner": json.dumps({"cc": ADDRESS})})
    opened, rita = house.open({"path": "a.json", "text": text}), client_of(house.cast.rita)
    first, second = marks(rita, opened)
    assert ask(rita, opened, first).json()["value"] == OTHER
    assert ask(rita, opened, second).json()["value"] == ADDRESS
    assert not [row for row in everything_stored() if ADDRESS in row or OTHER in row]


def everything_stored() -> list[str]:
    """All that the database holds about it, as text."""
    rows = [*Reveal.objects.values(), *TraceEvent.objects.values(), *LedgerEntry.objects.values()]
    rows += [*FeedEntry.objects.values(), *ApprovalGate.objects.values()]
    return [json.dumps(row, default=str, ensure_ascii=False) for row in rows]


def test_each_reveal_is_a_ledger_entry_with_its_reason_redacted(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(ARGUMENTS), client_of(house.cast.rita)
    mark = marks(rita, opened)[0]
    ask(rita, opened, mark, f"Is {ADDRESS} the customer's?")
    entry = LedgerEntry.objects.get(tenant=house.cast.acme, kind="reveal")
    facts = ledger.facts_of(entry)
    assert (entry.actor, facts["mark"], facts["argument"], facts["label"]) == ("rita", mark, "text", "email")
    assert facts["reason"].endswith("the customer's?")
    assert TraceEvent.objects.get(kind="value.revealed").actor == "rita"
    assert ADDRESS not in Reveal.objects.get().reason
    assert ledger.verify(house.cast.acme.pk) == []
    assert "shown 1 time so far" in client_of(house.cast.rolf).get(f"/queue/{opened.gate.pk}/").text


def test_the_tenants_admins_see_who_looked_and_nobody_elses_do(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(ARGUMENTS), client_of(house.cast.rita)
    ask(rita, opened, marks(rita, opened)[0], "Checking the recipient")
    page = "/admin/approvals/reveal/"
    for person in (house.cast.adam, house.cast.audra):
        assert "Checking the recipient" in client_of(person).get(page).text
    assert "Checking the recipient" not in client_of(house.cast.ada).get(page).text
    assert client_of(house.cast.rita).get(page).status_code in {302, 403}
    row = Reveal.objects.get()
    adam = client_of(house.cast.adam)
    assert adam.post(f"{page}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert adam.post(f"{page}{row.pk}/change/", {"reason": "another"}).status_code == 403
    assert Reveal.objects.get().reason == "Checking the recipient"


@pytest.mark.parametrize(
    ("name", "status"), [("alice", 403), ("audra", 403), ("carol", 404), ("ravi", 404), ("oscar", 404)]
)
def test_who_may_not_sees_nothing_and_leaves_no_entry(
    client_of: ClientOf, house: House, name: str, status: int
) -> None:
    opened = house.open(ARGUMENTS)
    mark = marks(client_of(house.cast.rita), opened)[0]
    answer = ask(client_of(getattr(house.cast, name)), opened, mark)
    assert answer.status_code == status
    assert ADDRESS not in answer.text
    assert not Reveal.objects.exists()


@pytest.mark.parametrize(
    ("mark", "reason", "words"),
    [
        ("", "why", "no such masked value"),
        ("0" * 16, "why", "no such masked value"),
        (None, "", "Say why"),
        (None, "  \n", "Say why"),
        (None, "x" * 501, "too long"),
        (None, "x" * 100_000, "too long"),
    ],
)
def test_what_cannot_be_shown_is_said(
    client_of: ClientOf, house: House, mark: str | None, reason: str, words: str
) -> None:
    opened, rita = house.open(ARGUMENTS), client_of(house.cast.rita)
    asked = marks(rita, opened)[0] if mark is None else mark
    answer = ask(rita, opened, asked, reason)
    assert answer.status_code == (422 if mark is None else 409)
    assert words in answer.json()["error"]
    assert not Reveal.objects.exists()


def test_a_mark_of_another_call_shows_nothing(client_of: ClientOf, house: House) -> None:
    opened, other, rita = (
        house.open(ARGUMENTS),
        house.open({"path": "b.txt", "text": "plain"}),
        client_of(house.cast.rita),
    )
    assert ask(rita, other, marks(rita, opened)[0]).status_code == 409


def test_after_the_decision_nothing_is_shown_any_more(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(ARGUMENTS), client_of(house.cast.rita)
    mark = marks(rita, opened)[0]
    house.decide(opened, house.cast.rita)
    assert ask(rita, opened, mark).status_code == 409
    assert marks(rita, opened) == []


def test_arguments_changed_behind_the_gate_are_not_shown(client_of: ClientOf, house: House) -> None:
    opened, other, rita = (
        house.open(ARGUMENTS),
        house.open({"path": "b.txt", "text": ADDRESS}),
        client_of(house.cast.rita),
    )
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(arguments_sealed=other.gate.arguments_sealed)
    answer = ask(rita, opened, marks(rita, opened)[0])
    assert answer.status_code == 409
    assert ADDRESS not in answer.text


def test_hidden_characters_of_a_value_are_shown_as_their_code_points(client_of: ClientOf, house: House) -> None:
    hostile = 'password="pa\u202ess<b>w0rd-99"'
    opened, rita = house.open({"path": "a.txt", "text": hostile}), client_of(house.cast.rita)
    (mark,) = marks(rita, opened)
    shown = ask(rita, opened, mark).json()["value"]
    assert "\u202e" not in shown
    assert "⟦U+202E⟧" in shown
    page = ask(rita, opened, mark, script=False)
    assert "no-store" in page["Cache-Control"]
    assert "&lt;b&gt;" in page.text
    assert "<b>w0rd" not in page.text


def test_the_same_value_as_last_approved_is_told_without_showing_it(client_of: ClientOf, house: House) -> None:
    first = house.open({"path": "a.txt", "text": f"Write to {ADDRESS}"})
    page = client_of(house.cast.rolf).get(f"/queue/{first.gate.pk}/").text
    assert "the same value as in the last approved call" not in page
    house.decide(first, house.cast.rita)
    second = house.open({"path": "a.txt", "text": f"Write to {OTHER} and {ADDRESS}"})
    page = client_of(house.cast.rolf).get(f"/queue/{second.gate.pk}/").text
    assert page.count("the same value as in the last approved call") == 1
    assert page.count("not in the last approved call") == 1
    assert not Reveal.objects.exists()
