"""The queue's page and its rows: order, filters, one's own tenant only, everything escaped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from django.test import Client

from routekit_site.tenancy.models import Membership, User
from tests.fixtures.gates import House, Opened

ClientOf = Callable[[User], Client]


def _places(page: str, openeds: list[Opened]) -> list[int]:
    return [page.index(f'data-id="{opened.gate.pk}"') for opened in openeds]


def test_the_riskiest_comes_first_then_the_oldest(
    client_of: ClientOf, house: House, open_risky: Callable[[], Opened]
) -> None:
    newer = house.open()
    older = replace(house, now=house.now - timedelta(minutes=5)).open()
    risky = open_risky()
    client = client_of(house.cast.rita)
    page = client.get("/queue/").text
    assert _places(page, [risky, older, newer]) == sorted(_places(page, [risky, older, newer]))
    assert "(3) Queue" in page
    rows = client.get("/queue/rows.json").json()
    assert [row["id"] for row in rows["rows"]] == [str(each.gate.pk) for each in (risky, older, newer)]
    assert rows["total"] == 3


def test_a_filter_narrows_without_scripts(client_of: ClientOf, house: House, open_risky: Callable[[], Opened]) -> None:
    low, risky = house.open(), open_risky()
    client = client_of(house.cast.rita)
    for query, shown, hidden in (
        ("risk=high", risky, low),
        ("q=WRITE+example", low, risky),
        ("q=archive.csv", risky, low),
    ):
        page = client.get(f"/queue/?{query}").text
        assert str(shown.gate.pk) in page
        assert str(hidden.gate.pk) not in page


def test_an_empty_queue_says_so_and_what_was_decided_last(client_of: ClientOf, house: House) -> None:
    client = client_of(house.cast.rita)
    assert "No call has been decided here yet." in client.get("/queue/").text
    house.decide(house.open({"path": "done.txt", "text": "x"}), house.cast.rita)
    page = client.get("/queue/").text
    assert "Nothing waiting" in page
    assert "characters to done.txt, by Rita Example" in page
    assert "by Rita Example" in page


def test_another_tenants_calls_are_not_there(client_of: ClientOf, house: House) -> None:
    gate = house.open().gate
    client = client_of(house.cast.ravi)
    assert str(gate.pk) not in client.get("/queue/").text
    assert client.get(f"/queue/rows.json?id={gate.pk}").json() == {"rows": [], "total": 0}


def test_rows_are_given_by_name_whatever_their_state(client_of: ClientOf, house: House) -> None:
    waiting, decided = house.open(), house.open()
    house.decide(decided, house.cast.rita)
    client = client_of(house.cast.rita)
    answer = client.get(f"/queue/rows.json?id={decided.gate.pk}&id={waiting.gate.pk}&id=nonsense").json()
    states = {row["id"]: row["state"] for row in answer["rows"]}
    assert states == {str(waiting.gate.pk): "pending", str(decided.gate.pk): "approved"}
    assert answer["total"] == 1


def test_a_page_without_end_is_cut_and_says_so(client_of: ClientOf, house: House) -> None:
    for _ in range(3):
        house.open()
    client = client_of(house.cast.rita)
    page = client.get("/queue/?limit=2").text
    # The pattern for arriving rows is one more.
    assert page.count('class="row"') == 3
    assert "Show more of 3" in page
    for nonsense in ("0", "-1", "x", "9" * 40, "²"):
        assert client.get(f"/queue/?limit={nonsense}").status_code == 200


def test_hostile_text_is_text(client_of: ClientOf, house: House) -> None:
    path = '<script>alert(1)</script>"onclick=x'
    text = "<img src=x onerror=alert(1)>\u202egnp.exe\u200b {{ 7|add:7 }}"
    gate = house.open({"path": path, "text": text}).gate
    client = client_of(house.cast.rita)
    for page in (client.get("/queue/").text, client.get(f"/queue/{gate.pk}/").text):
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    page = client.get(f"/queue/{gate.pk}/").text
    assert "\u202e" not in page
    assert '<span class="escape" title="RIGHT-TO-LEFT OVERRIDE">⟦U+202E⟧</span>' in page
    assert "{{ 7|add:7 }}" in page


def test_long_text_is_shown_to_its_last_character(client_of: ClientOf, house: House) -> None:
    text = "".join(f"line {number} of many\n" for number in range(5_000)) + "the very end"
    gate = house.open({"path": "long.txt", "text": text}).gate
    page = client_of(house.cast.rita).get(f"/queue/{gate.pk}/").text
    assert "line 4999 of many" in page
    assert "the very end" in page
    assert f"{len(text)} characters" in page


def test_what_is_masked_is_a_chip_and_never_the_value(client_of: ClientOf, house: House) -> None:
    gate = house.open({"path": "mail.txt", "text": "to bob@example.com\n"}).gate
    client = client_of(house.cast.rita)
    for page in (client.get(f"/queue/{gate.pk}/").text, client.get(f"/queue/{gate.pk}.json").text):
        assert "bob@example.com" not in page
    assert "[redacted: email]</span>" in client.get(f"/queue/{gate.pk}/").text


def test_the_pane_gets_the_call_alone(client_of: ClientOf, house: House) -> None:
    gate = house.open().gate
    part = client_of(house.cast.rita).get(f"/queue/{gate.pk}/?part=1").text
    assert part.strip().startswith("<article")
    assert "<html" not in part


def test_the_submitter_sees_the_call_and_why_it_waits(client_of: ClientOf, house: House) -> None:
    gate = house.open().gate
    page = client_of(house.cast.alice).get(f"/queue/{gate.pk}/").text
    assert "a reviewer or an admin, other than Alice Example" in page
    assert "does not allow this" in page
    assert 'name="kind"' not in page


def test_past_decisions_on_the_same_call_are_shown(client_of: ClientOf, house: House) -> None:
    arguments = {"path": "again.txt", "text": "same"}
    first = house.open(arguments)
    house.decide(first, house.cast.rita, first.ballot("reject", reason="Wrong target"))
    page = client_of(house.cast.rita).get(f"/queue/{house.open(arguments).gate.pk}/").text
    assert "The very same call" in page
    assert "Wrong target" in page


def test_a_call_of_a_tenant_not_chosen_in_the_header_follows_its_own_feed(client_of: ClientOf, house: House) -> None:
    gate = house.open().gate
    Membership.objects.create(user=house.cast.ada, tenant=house.cast.acme, role="reviewer")
    client = client_of(house.cast.ada)
    client.post("/tenant/", {"tenant": house.cast.globex.pk})
    assert f'data-tenant="{house.cast.globex.pk}"' in client.get("/queue/").text
    assert f'data-tenant="{house.cast.acme.pk}"' in client.get(f"/queue/{gate.pk}/").text
