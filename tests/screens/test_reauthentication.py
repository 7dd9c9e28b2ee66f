"""Policy changes ask for a fresh proof of who one is; what was typed survives the question without being stored."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from approvals.models import TenantPolicy
from routekit_site.tenancy.errors import ReauthenticationNeeded
from routekit_site.tenancy.models import User
from routekit_site.tenancy.reauthentication import SESSION_KEY, check_reauthenticated
from tests.fixtures.cast import PASSWORD, Cast

ClientOf = Callable[[User], Client]
PAGE = "/admin/approvals/tenantpolicy/add/"
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


@pytest.fixture
def stale(client_of: ClientOf) -> ClientOf:
    """A client whose person proved who they are an hour ago."""

    def signed_in(user: User) -> Client:
        client = client_of(user)
        session = client.session
        session[SESSION_KEY] = timezone.now().timestamp() - 3600
        session.save()
        return client

    return signed_in


def form(cast: Cast) -> dict[str, Any]:
    return {
        "tenant": cast.acme.pk,
        "require_approval_for_permissions": ["network", "filesystem"],
        "approval_callback": "",
        "approval_hold_seconds": "5",
        "rejection_hold_seconds": "0",
        "decide_by_seconds": "3600",
        "execute_by_seconds": "600",
    }


def hidden(page: str) -> list[tuple[str, str]]:
    return [(name, html.unescape(value)) for name, value in _HIDDEN.findall(page) if name != "csrfmiddlewaretoken"]


def test_a_fresh_sign_in_is_proof_enough(client_of: ClientOf, cast: Cast) -> None:
    assert client_of(cast.adam).post(PAGE, form(cast)).status_code == 302
    assert TenantPolicy.objects.filter(tenant=cast.acme).exists()


def test_a_stale_one_is_asked_and_what_was_typed_is_sent_afterwards(stale: ClientOf, cast: Cast) -> None:
    client = stale(cast.adam)
    asked = client.post(PAGE, form(cast))
    assert asked.status_code == 403
    assert "Confirm that it is you" in asked.text
    assert not TenantPolicy.objects.exists()
    assert "network" not in str(dict(client.session.items()))
    carried = dict(hidden(asked.text))
    assert carried["next"] == PAGE
    again = client.post("/confirm/", {**carried, "password": PASSWORD})
    assert "Send it now" in again.text
    fields: dict[str, list[str]] = {}
    for name, value in hidden(again.text):
        fields.setdefault(name, []).append(value)
    assert client.post(PAGE, fields).status_code == 302
    assert TenantPolicy.objects.get().require_approval_for_permissions == ["network", "filesystem"]


def test_a_wrong_password_proves_nothing_and_keeps_the_form(stale: ClientOf, cast: Cast) -> None:
    client = stale(cast.adam)
    carried = dict(hidden(client.post(PAGE, form(cast)).text))
    answer = client.post("/confirm/", {**carried, "password": "wrong"})
    assert answer.status_code == 422
    assert dict(hidden(answer.text)) == carried
    assert client.post(PAGE, form(cast)).status_code == 403


def test_somebody_elses_password_proves_nothing(stale: ClientOf, cast: Cast) -> None:
    User.objects.get(pk=cast.rita.pk)
    cast.rita.set_password("another password of the tests")
    cast.rita.save()
    client = stale(cast.adam)
    answer = client.post("/confirm/", {"username": "rita", "password": "another password of the tests"})
    assert answer.status_code == 422


def test_confirming_changes_the_session_key(stale: ClientOf, cast: Cast) -> None:
    client = stale(cast.adam)
    before = client.session.session_key
    assert client.post("/confirm/", {"password": PASSWORD, "next": "/queue/"})["Location"] == "/queue/"
    assert client.session.session_key not in {before, None}


@pytest.mark.parametrize("page", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"])
def test_it_leads_nowhere_else(stale: ClientOf, cast: Cast, page: str) -> None:
    assert stale(cast.adam).post("/confirm/", {"password": PASSWORD, "next": page})["Location"] == "/"


@pytest.mark.parametrize("carried", ["[", "{}", '"x"', "[1]", '[["a"]]', '[["a", 1]]', "[" * 5000])
def test_what_can_not_be_carried_is_left_behind(stale: ClientOf, cast: Cast, carried: str) -> None:
    answer = stale(cast.adam).post("/confirm/", {"password": PASSWORD, "next": "/queue/", "carried": carried})
    assert answer["Location"] == "/queue/"


def test_a_preview_saves_nothing_and_asks_nothing(stale: ClientOf, cast: Cast) -> None:
    assert stale(cast.adam).post(PAGE, {**form(cast), "_preview": "1"}).status_code == 200
    assert not TenantPolicy.objects.exists()


def test_a_script_is_told_where_to_go(stale: ClientOf, cast: Cast) -> None:
    answer = stale(cast.adam).post(PAGE, form(cast), headers={"accept": "application/json"})
    assert answer.status_code == 403
    assert answer.json()["confirm"] == "/confirm/"


def test_the_button_is_for_the_demo_only(stale: ClientOf, cast: Cast, settings: Any) -> None:
    client = stale(cast.adam)
    assert client.post("/confirm/", {"by": "button", "next": "/queue/"}).status_code == 422
    settings.DEMO = True
    assert "Go on as Adam" in client.get("/confirm/").text
    assert client.post("/confirm/", {"by": "button", "next": "/queue/"})["Location"] == "/queue/"
    assert stale(cast.audra).post("/confirm/", {"by": "button"}).status_code == 422


def test_a_clock_that_was_set_back_is_no_proof(stale: ClientOf, cast: Cast) -> None:
    request = HttpRequest()
    request.user, request.session = cast.adam, stale(cast.adam).session
    with pytest.raises(ReauthenticationNeeded):
        check_reauthenticated(request)
    request.session[SESSION_KEY] = timezone.now().timestamp()
    check_reauthenticated(request)
    request.session[SESSION_KEY] = timezone.now().timestamp() + 60
    with pytest.raises(ReauthenticationNeeded):
        check_reauthenticated(request)
