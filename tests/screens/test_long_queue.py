"""A long queue: the first page is short, the rest comes in order, and its cost does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from routekit_site.tenancy.models import User
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]


def test_the_rest_of_a_long_queue_comes_in_order_without_gaps(house: House, client_of: ClientOf) -> None:
    for number in range(7):
        # Two of a kind each time: equal moments are told apart by the id.
        replace(house, now=house.now - timedelta(minutes=number // 2)).open()
    client = client_of(house.cast.rita)
    every = [row["id"] for row in client.get("/queue/rows.json").json()["rows"]]
    found: list[str] = []
    while True:
        after = f"&after={found[-1]}" if found else ""
        chunk = client.get(f"/queue/rows.json?limit=3{after}").json()["rows"]
        if not chunk:
            break
        found += [row["id"] for row in chunk]
    assert found == every
    assert len(found) == 7


def test_a_row_of_another_tenant_is_no_place_to_go_on_from(house: House, client_of: ClientOf) -> None:
    gate = house.open().gate
    rows = client_of(house.cast.ravi).get(f"/queue/rows.json?after={gate.pk}").json()
    assert rows == {"rows": [], "total": 0}
    assert len(client_of(house.cast.rita).get("/queue/rows.json?after=nonsense").json()["rows"]) == 1


def test_the_page_costs_no_query_a_row(house: House, client_of: ClientOf, django_assert_max_num_queries: Any) -> None:
    client = client_of(house.cast.rita)
    house.open()
    client.get("/queue/")
    with CaptureQueriesContext(connection) as few:
        client.get("/queue/")
    for _ in range(10):
        house.open()
    with django_assert_max_num_queries(len(few)):
        client.get("/queue/")


def test_the_first_call_comes_with_the_page(house: House, client_of: ClientOf) -> None:
    first = replace(house, now=house.now - timedelta(minutes=1)).open()
    second = house.open()
    client = client_of(house.cast.rita)
    assert f'id="gate" data-id="{first.gate.pk}"' in client.get("/queue/").text
    assert f'id="gate" data-id="{second.gate.pk}"' in client.get(f"/queue/?gate={second.gate.pk}").text
    assert f'id="gate" data-id="{first.gate.pk}"' in client.get("/queue/?gate=nonsense").text
    client.post(f"/queue/{first.gate.pk}/snooze/")
    assert f'id="gate" data-id="{second.gate.pk}"' in client.get("/queue/").text
    other = client_of(house.cast.ravi).get(f"/queue/?gate={first.gate.pk}").text
    assert 'id="gate"' not in other


def test_a_filter_looks_beyond_the_first_page(house: House, client_of: ClientOf) -> None:
    for _ in range(3):
        house.open()
    last = house.open({"path": "needle.txt", "text": "x"}).gate
    page = client_of(house.cast.rita).get("/queue/?limit=2&q=needle").text
    assert f'data-id="{last.pk}"' in page
