"""Signing in and out, the demo's buttons, switching tenants, the start page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Role
from tests.fixtures.cast import PASSWORD, Cast

ClientOf = Callable[[User], Client]


def test_a_password_opens_the_site(client: Client, cast: Cast) -> None:
    answer = client.post("/sign-in/", {"username": "rita", "password": PASSWORD})
    assert answer.status_code == 302
    assert answer["Location"] == "/"
    assert client.session["_auth_user_id"] == str(cast.rita.pk)


def test_a_wrong_password_says_so_and_keeps_the_name(client: Client, cast: Cast) -> None:
    answer = client.post("/sign-in/", {"username": cast.rita.username, "password": "wrong"})
    assert answer.status_code == 200
    assert "enter a correct username and password" in answer.text
    assert 'value="rita"' in answer.text


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_no_address_leads_off_the_site(client: Client, cast: Cast, settings: Settings, next_page: str) -> None:
    settings.DEMO = True
    sent = {"username": cast.rita.username, "password": PASSWORD, "next": next_page}
    assert client.post("/sign-in/", sent)["Location"] == "/"
    assert client.post("/demo/sign-in/", sent)["Location"] == "/"


def test_the_demo_offers_its_people_as_buttons(client: Client, cast: Cast, settings: Settings) -> None:
    settings.DEMO = True
    page = client.get("/sign-in/").text
    for name in ("alice", "rita", "adam", "carol", "ravi", "ada"):
        assert f'name="username" value="{name}"' in page
    # Somebody who is not of the cast is not offered.
    assert 'value="audra"' not in page
    answer = client.post("/demo/sign-in/", {"username": "rita", "next": "/queue/"})
    assert answer["Location"] == "/queue/"
    assert client.session["_auth_user_id"] == str(cast.rita.pk)


def test_outside_demo_mode_there_are_no_buttons_and_no_address(client: Client, cast: Cast) -> None:
    assert 'name="username" value=' not in client.get("/sign-in/").text
    answer = client.post("/demo/sign-in/", {"username": cast.rita.username})
    assert answer.status_code == 404
    assert "_auth_user_id" not in client.session


def test_the_demo_signs_in_nobody_outside_its_cast(client: Client, cast: Cast, settings: Settings) -> None:
    settings.DEMO = True
    assert client.post("/demo/sign-in/", {"username": cast.audra.username}).status_code == 404
    assert "_auth_user_id" not in client.session


def test_signing_out_takes_a_post(client_of: ClientOf, cast: Cast) -> None:
    client = client_of(cast.rita)
    assert client.get("/sign-out/").status_code == 405
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert client.get("/queue/")["Location"] == "/sign-in/?next=/queue/"


@pytest.mark.parametrize(
    ("name", "start"),
    [("alice", "/jobs/"), ("rita", "/queue/"), ("adam", "/queue/"), ("audra", "/admin/")],
)
def test_the_start_page_is_where_the_role_works(client_of: ClientOf, cast: Cast, name: str, start: str) -> None:
    assert client_of(getattr(cast, name)).get("/")["Location"] == start


def test_somebody_without_a_tenant_is_told_what_to_do(client_of: ClientOf, cast: Cast) -> None:
    client = client_of(cast.oscar)
    page = client.get("/")
    assert page.status_code == 200
    assert "You belong to no tenant yet" in page.text
    assert client.get("/queue/").status_code == 404
    assert client.get("/jobs/").status_code == 404


def test_one_switches_between_ones_own_tenants_only(client_of: ClientOf, cast: Cast) -> None:
    Membership.objects.create(user=cast.rita, tenant=cast.globex, role=Role.DEVELOPER)
    client = client_of(cast.rita)
    assert client.get("/queue/").status_code == 200
    assert client.post("/tenant/", {"tenant": cast.globex.pk})["Location"] == "/"
    # A developer there: no queue.
    assert client.get("/queue/").status_code == 403
    assert client_of(cast.alice).post("/tenant/", {"tenant": cast.globex.pk}).status_code == 404
    assert client_of(cast.alice).post("/tenant/", {"tenant": "x"}).status_code == 404


def test_who_sends_a_form_signed_out_is_told_and_comes_back_to_its_page(client: Client, cast: Cast) -> None:
    assert cast.alice
    page = "http://testserver/jobs/new/?agent=7"
    sent = client.post("/jobs/new/", {"prompt": "read notes.txt"}, headers={"referer": page})
    assert sent["Location"] == "/sign-in/?next=/jobs/new/%3Fagent%3D7&unsent=yes"
    told = client.get(sent["Location"]).text
    assert "nothing was sent or changed" in told
    assert 'name="next" value="/jobs/new/?agent=7"' in told
    # A page of somebody else's is no place to come back to.
    elsewhere = client.post("/jobs/new/", headers={"referer": "http://elsewhere.example/jobs/new/"})
    assert elsewhere["Location"] == "/sign-in/?next=/"
