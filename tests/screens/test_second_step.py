"""A second step after the password: the authenticator app's code, recovery codes; none of it guessable or in clear."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client

from routekit_site.tenancy.models import User
from tests.fixtures.cast import PASSWORD, Cast

ClientOf = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _no_limits_left_over() -> None:
    cache.clear()


def code_of(secret: str) -> str:
    """The code that the app shows now."""
    return str(format_hotp_value(hotp_value(secret, list(yield_hotp_counters_from_time())[1])))


def password_step(client: Client, name: str, **more: str) -> str:
    return str(client.post("/sign-in/", {"username": name, "password": PASSWORD, **more})["Location"])


@pytest.fixture
def app(client_of: ClientOf, cast: Cast) -> tuple[str, list[str]]:
    """Rita sets up an authenticator app by its pages; its secret and her recovery codes."""
    client = client_of(cast.rita)
    secret = client.get("/account/app/").context["form"].secret
    assert client.post("/account/app/", {"code": "000000"}).status_code == 200
    answer = client.post("/account/app/", {"code": code_of(secret)})
    assert answer["Location"] == "/account/recovery-codes/"
    codes = re.findall(r"<li><code>([^<]+)</code></li>", client.get("/account/recovery-codes/").text)
    assert len(codes) == 10
    assert not re.findall(r"<li><code>", client.get("/account/recovery-codes/").text)
    cache.clear()
    return secret, codes


def test_the_password_alone_signs_nobody_in(client: Client, app: tuple[str, list[str]]) -> None:
    secret, _ = app
    assert password_step(client, "rita", next="/jobs/") == "/sign-in/second-step/"
    assert "_auth_user_id" not in client.session
    assert client.get("/queue/")["Location"] == "/sign-in/?next=/queue/"
    wrong = client.post("/sign-in/second-step/", {"code": "123 456"})
    assert "Incorrect code" in wrong.text
    assert client.post("/sign-in/second-step/", {"code": code_of(secret)})["Location"] == "/jobs/"
    assert client.get("/queue/").status_code == 200


def test_a_code_works_once(client: Client, app: tuple[str, list[str]]) -> None:
    secret, _ = app
    code = code_of(secret)
    password_step(client, "rita")
    assert client.post("/sign-in/second-step/", {"code": code}).status_code == 302
    other = Client()
    password_step(other, "rita")
    assert other.post("/sign-in/second-step/", {"code": code}).status_code == 200


def test_a_recovery_code_works_once(app: tuple[str, list[str]]) -> None:
    _, codes = app
    for expected in (302, 200):
        client = Client()
        password_step(client, "rita")
        assert client.post("/sign-in/second-step/", {"code": codes[0]}).status_code == expected


def test_codes_can_not_be_guessed_at_length(client: Client, app: tuple[str, list[str]]) -> None:
    secret, _ = app
    password_step(client, "rita")
    for number in range(5):
        client.post("/sign-in/second-step/", {"code": f"{number:06}"})
    refused = client.post("/sign-in/second-step/", {"code": code_of(secret)})
    assert refused.status_code == 200
    assert "Too many failed" in refused.text


def test_no_secret_stands_in_clear(client_of: ClientOf, cast: Cast, app: tuple[str, list[str]]) -> None:
    secret, codes = app
    stored = str(list(Authenticator.objects.values_list("data", flat=True)))
    assert secret not in stored
    assert not any(code in stored for code in codes)
    # While it is set up, the secret stands in the session.
    client = client_of(cast.adam)
    unfinished = client.get("/account/app/").context["form"].secret
    assert client.session["mfa.totp.secret"] == unfinished
    assert unfinished not in str(list(Session.objects.values_list("session_data", flat=True)))


def test_the_app_proves_who_one_is(client_of: ClientOf, cast: Cast, app: tuple[str, list[str]]) -> None:
    secret, _ = app
    client = client_of(cast.rita)
    assert "Confirm by code" in client.get("/confirm/").text
    assert client.post("/confirm/", {"by": "code", "code": "000000"}).status_code == 422
    answer = client.post("/confirm/", {"by": "code", "code": code_of(secret), "next": "/queue/"})
    assert answer["Location"] == "/queue/"


def test_a_second_factor_is_changed_only_by_somebody_who_proved_who_they_are(
    client_of: ClientOf, cast: Cast, app: tuple[str, list[str]]
) -> None:
    del app
    client = client_of(cast.rita)
    session = client.session
    session["confirmed_at"] = 0
    session["account_authentication_methods"] = []
    session.save()
    for page in ("/account/app/", "/account/app/remove/", "/account/recovery-codes/new/", "/account/passkeys/new/"):
        assert client.get(page).status_code == 302
        assert client.post(page).status_code in {302, 403}
    assert Authenticator.objects.filter(user=cast.rita).count() == 2


def test_the_app_can_be_removed_and_takes_the_codes_along(
    client_of: ClientOf, client: Client, cast: Cast, app: tuple[str, list[str]]
) -> None:
    del app
    assert client_of(cast.rita).post("/account/app/remove/")["Location"] == "/account/"
    assert not Authenticator.objects.exists()
    assert password_step(client, "rita") == "/"


def test_the_account_page_says_what_there_is(client_of: ClientOf, cast: Cast, app: tuple[str, list[str]]) -> None:
    del app
    page = client_of(cast.rita).get("/account/").text
    assert "Asked for a code after the password" in page
    assert "10 left" in page
    assert "Set it up" in client_of(cast.adam).get("/account/").text


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "x",
        "null",
        "[]",
        "{}",
        '{"id": 1}',
        '{"id": "AA", "rawId": "AA", "response": {}, "type": "public-key"}',
        '{"rawId":"!","id":"!","type":"public-key","response":{"clientDataJSON":"AA","authenticatorData":"AA"}}',
        "[" * 2000,
        "1" * 5000,
    ],
)
def test_a_hostile_passkey_is_a_message(client_of: ClientOf, client: Client, cast: Cast, credential: str) -> None:
    assert client.get("/sign-in/passkey/", headers={"accept": "application/json"}).status_code == 200
    assert client.post("/sign-in/passkey/", {"credential": credential})["Location"] == "/sign-in/"
    signed_in = client_of(cast.rita)
    assert signed_in.get("/account/passkeys/new/").status_code == 200
    assert signed_in.post("/account/passkeys/new/", {"credential": credential, "name": "x"}).status_code == 200
    assert signed_in.post("/confirm/", {"by": "passkey", "credential": credential}).status_code == 422
    assert not Authenticator.objects.exists()
