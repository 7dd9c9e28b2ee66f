"""Every view for everybody: a stranger finds nothing, a member without the capability is told so, others get in."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.test import Client

from agents.models import Run
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]

# Who gets what: alice submitted the run and its gate, rita and rolf review, adam administers, audra audits (all acme);
# carol, ravi and ada are strangers from globex; oscar belongs nowhere.
PEOPLE = ("alice", "rita", "adam", "audra", "carol", "ravi", "oscar")
TABLE = {
    "GET /queue/": (403, 200, 200, 403, 403, 200, 404),
    "GET /queue/rows.json": (403, 200, 200, 403, 403, 200, 404),
    "GET /queue/{gate}/": (200, 200, 200, 403, 404, 404, 404),
    "GET /queue/{gate}.json": (200, 200, 200, 403, 404, 404, 404),
    "POST /queue/{gate}/decide/": (403, 422, 422, 403, 404, 404, 404),
    "POST /queue/{gate}/undo/": (403, 403, 409, 403, 404, 404, 404),
    "GET /queue/{gate}/claim/": (200, 200, 200, 403, 404, 404, 404),
    "POST /queue/{gate}/release/": (302, 302, 302, 403, 404, 404, 404),
    "POST /queue/{gate}/reveal/": (403, 422, 422, 403, 404, 404, 404),
    "POST /queue/{gate}/say/question/": (403, 422, 422, 403, 404, 404, 404),
    "POST /queue/{gate}/say/note/": (422, 422, 422, 403, 404, 404, 404),
    "POST /queue/{gate}/withdraw/": (302, 403, 302, 403, 404, 404, 404),
    "GET /jobs/": (200, 200, 200, 200, 200, 200, 404),
    "GET /jobs/new/": (200, 403, 200, 403, 200, 403, 404),
    "POST /jobs/new/": (422, 403, 422, 403, 422, 403, 404),
    "GET /runs/{run}/": (200, 200, 200, 200, 404, 404, 404),
    "GET /runs/{run}.json": (200, 200, 200, 200, 404, 404, 404),
    "POST /runs/{run}/cancel/": (302, 403, 302, 403, 404, 404, 404),
}
CASES = [
    (line, person, status) for line, statuses in TABLE.items() for person, status in zip(PEOPLE, statuses, strict=True)
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_each_person_gets_what_their_role_gives(
    client_of: ClientOf, house: House, submit: Callable[[], Run], case: tuple[str, str, int]
) -> None:
    line, person, status = case
    method, path = line.split(" ")
    gate, run = house.open().gate, submit()
    answer = client_of(getattr(house.cast, person)).generic(method, path.format(gate=gate.pk, run=run.pk))
    assert answer.status_code == status


@pytest.mark.parametrize("line", TABLE)
def test_whoever_is_not_signed_in_is_asked_to(
    client: Client, house: House, submit: Callable[[], Run], line: str
) -> None:
    gate, run = house.open().gate, submit()
    method, path = line.split(" ")
    path = path.format(gate=gate.pk, run=run.pk)
    if not path.endswith(".json"):
        answer = client.generic(method, path)
        assert answer.status_code == 302
        assert answer["Location"] == (f"/sign-in/?next={path}" if method == "GET" else "/sign-in/?next=/")
    answer = client.generic(method, path, headers={"accept": "application/json"})
    assert answer.status_code == 401
    assert answer.json()["error"].startswith("You are signed out")


@pytest.mark.parametrize("line", [line for line in TABLE if "{" in line])
def test_what_does_not_exist_looks_like_what_is_not_ones_own(client_of: ClientOf, cast: Cast, line: str) -> None:
    method, path = line.split(" ")
    answer = client_of(cast.adam).generic(method, path.format(gate=uuid.uuid4(), run=uuid.uuid4()))
    assert answer.status_code == 404


@pytest.mark.parametrize("line", [line for line in TABLE if line.startswith("POST")])
def test_what_changes_something_takes_a_post_with_a_token(house: House, submit: Callable[[], Run], line: str) -> None:
    gate, run = house.open().gate, submit()
    path = line.removeprefix("POST ").format(gate=gate.pk, run=run.pk)
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.cast.adam)
    if "new" not in path:
        assert client.get(path).status_code == 405
    answer = client.post(path)
    assert answer.status_code == 403
    assert "This form is out of date" in answer.text
