"""What the pages that reviewers use all day ask of the database, with sixty calls that wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from routekit_site.tenancy.access import membership_of, remembering
from routekit_site.tenancy.models import Membership, User
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]

WAITING = 60
MOST = {
    "/queue/": 19,
    "/queue/rows.json": 8,
    "/queue/{gate}/": 15,
    "/queue/{gate}.json": 12,
    "/jobs/": 11,
    "/insights/": 12,
}


def _memberships(sent: list[str]) -> list[str]:
    return [sql for sql in sent if 'FROM "tenancy_membership"' in sql]


@pytest.mark.parametrize(("page", "most"), MOST.items())
def test_a_page_asks_no_more_than_it_did_and_reads_a_membership_once(
    house: House, client_of: ClientOf, page: str, most: int
) -> None:
    gates = [house.open().gate for _ in range(WAITING)]
    client = client_of(house.cast.rita)
    address = page.format(gate=gates[0].pk)
    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    sent = [query["sql"] for query in captured.captured_queries]
    # Those that the header lists, and the one that the page's checks go by.
    assert len(_memberships(sent)) <= 2
    assert len(sent) <= most, "\n".join(sent)


def test_a_role_that_is_taken_away_is_gone_with_the_next_page(house: House, client_of: ClientOf) -> None:
    house.open()
    client, member = client_of(house.cast.rita), Membership.objects.filter(user=house.cast.rita, tenant=house.cast.acme)
    assert client.get("/queue/").status_code == 200
    member.update(role="developer")
    assert client.get("/queue/").status_code == 403
    member.delete()
    assert client.get("/queue/").status_code == 404


@pytest.mark.django_db
def test_what_changes_something_reads_a_membership_each_time(house: House, client_of: ClientOf) -> None:
    gate = house.open().gate
    with CaptureQueriesContext(connection) as captured:
        client_of(house.cast.rita).post(f"/queue/{gate.pk}/claim/")
    assert len(_memberships([query["sql"] for query in captured.captured_queries])) > 2


def test_nothing_outlives_its_block(house: House) -> None:
    rita, acme = house.cast.rita, house.cast.acme.pk
    with remembering():
        assert membership_of(rita, acme) is not None
        Membership.objects.filter(user=rita).delete()
        assert membership_of(rita, acme) is not None
    assert membership_of(rita, acme) is None
    with remembering():
        assert membership_of(rita, acme) is None
