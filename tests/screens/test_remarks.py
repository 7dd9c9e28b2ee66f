"""A question to the submitter, their answer and notes stand beside the call; a request can be taken back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from approvals.models import Remark
from approvals.states import GateState
from routekit_site.tenancy.models import User
from tests.fixtures.gates import House, Opened
from traces.models import FeedEntry, LedgerEntry, TraceEvent

ClientOf = Callable[[User], Client]
JSON = {"accept": "application/json"}


def say(client: Client, opened: Opened, kind: str, words: str, **more: str) -> Any:
    """Send a remark as the page's form does."""
    sent = {"words": words, "idempotency_key": uuid.uuid4().hex} | more
    return client.post(f"/queue/{opened.gate.pk}/say/{kind}/", sent, headers=JSON)


def test_a_question_and_its_answer_are_shown_with_the_call(client_of: ClientOf, house: House) -> None:
    opened, rita, alice = house.open(), client_of(house.cast.rita), client_of(house.cast.alice)
    before = opened.fresh()
    assert say(rita, opened, "question", "Is bob@example.com right?").status_code == 200
    asked = alice.get(f"/queue/{opened.gate.pk}/").text
    assert "no answer yet" in asked
    assert f"/queue/{opened.gate.pk}/say/answer/" in asked
    assert say(alice, opened, "answer", "Yes, he asked for it.").status_code == 200
    page = rita.get(f"/queue/{opened.gate.pk}/").text
    assert "Yes, he asked for it." in page
    assert "no answer yet" not in page
    assert "bob@example.com" not in page
    after = opened.fresh()
    assert (after.digest, after.view_digest, after.decide_by) == (before.digest, before.view_digest, before.decide_by)
    assert TraceEvent.objects.filter(kind="remark", actor="rita").count() == 1
    assert not [text for text in Remark.objects.values_list("text", flat=True) if "bob@" in text]


def test_the_submitters_page_is_told_of_a_question(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    say(client_of(house.cast.rita), opened, "question", "Why?")
    entry = FeedEntry.objects.filter(topic="gate").latest("number")
    assert entry.facts["submitter"] == house.cast.alice.pk
    assert "Why?" not in str(entry.facts)


def test_the_same_form_sent_twice_is_one_remark(client_of: ClientOf, house: House) -> None:
    opened, rita = house.open(), client_of(house.cast.rita)
    for _ in range(2):
        assert say(rita, opened, "question", "Why?", idempotency_key="one").status_code == 200
    assert Remark.objects.count() == 1
    assert say(rita, house.open(), "question", "Why?", idempotency_key="one").status_code == 409
    # Other words under the same key would be lost without a word.
    assert say(rita, opened, "question", "And why now?", idempotency_key="one").status_code == 409
    assert Remark.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        ("alice", "question", 403),
        ("alice", "note", 200),
        ("alice", "answer", 409),
        ("rita", "answer", 403),
        ("rita", "note", 200),
        ("audra", "note", 403),
        ("carol", "note", 404),
        ("ravi", "question", 404),
        ("rita", "shout", 404),
    ],
)
def test_who_may_say_what(client_of: ClientOf, house: House, name: str, kind: str, status: int) -> None:
    opened = house.open()
    assert say(client_of(getattr(house.cast, name)), opened, kind, "words").status_code == status


@pytest.mark.parametrize("words", ["", "   ", "x" * 4001, "x" * 100_000])
def test_words_that_cannot_be_taken_are_refused(client_of: ClientOf, house: House, words: str) -> None:
    opened = house.open()
    assert say(client_of(house.cast.rita), opened, "question", words).status_code == 422
    assert not Remark.objects.exists()


def test_nothing_is_said_about_a_call_that_is_decided(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rolf)
    assert say(client_of(house.cast.rita), opened, "question", "Why?").status_code == 409


def test_the_submitter_takes_a_request_back_and_a_late_vote_reads_so(client_of: ClientOf, house: House) -> None:
    opened, alice = house.open(), client_of(house.cast.alice)
    answer = alice.post(f"/queue/{opened.gate.pk}/withdraw/", {"back": "run"})
    assert (answer.status_code, answer["Location"]) == (302, f"/runs/{opened.gate.run_id}/")
    assert opened.fresh().state == GateState.WITHDRAWN
    gate = opened.gate
    sent = {"kind": "approve", "digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": "k"}
    late = client_of(house.cast.rita).post(f"/queue/{gate.pk}/decide/", sent, headers=JSON)
    assert late.status_code == 409
    assert late.json()["winner"] == "Alice Example"
    assert "Alice Example took the request back" in client_of(house.cast.rita).get(f"/queue/{gate.pk}/").text
    assert LedgerEntry.objects.filter(kind="decision", actor="alice").count() == 1


def test_a_request_that_was_decided_is_not_taken_back(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    late = client_of(house.cast.alice).post(f"/queue/{opened.gate.pk}/withdraw/", headers=JSON)
    assert late.status_code == 409
    assert "Rita Example" in late.json()["error"]
    assert client_of(house.cast.rolf).post(f"/queue/{opened.gate.pk}/withdraw/").status_code == 403
