"""Sign-in under attack: lock-out, what it tells and keeps, the life of sessions, and what their cookies are like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from routekit_site.demo_keys import make_keys
from routekit_site.tenancy.addresses import client_address
from routekit_site.tenancy.models import User
from routekit_site.tenancy.sessions import SEEN, STARTED
from tests.fixtures.cast import PASSWORD, Cast
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment

ClientOf = Callable[[User], Client]
Settings = Any


@pytest.fixture(autouse=True)
def _no_limits_left_over() -> None:
    cache.clear()


def attempt(client: Client, name: str, password: str, **extra: Any) -> Any:
    return client.post("/sign-in/", {"username": name, "password": password}, **extra)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed: the one thing in a sign-in that takes time."""
    calls: list[str] = []
    real = MD5PasswordHasher.encode

    def encode(self: MD5PasswordHasher, password: str, salt: str) -> str:
        calls.append(password)
        return real(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", encode)
    return calls


def test_unknown_and_known_names_cost_and_say_the_same(client: Client, cast: Cast, hashed: list[str]) -> None:
    User.objects.filter(pk=cast.rolf.pk).update(is_active=False)
    hashed.clear()
    answers = {}
    for name in ("rita", "nobody-here", "rolf"):
        answers[name] = attempt(client, name, "wrong").text.replace(name, "NAME")
        assert len(hashed) == 1, name
        hashed.clear()
    texts = {text.split('role="alert">')[1].split("<")[0] for text in answers.values()}
    assert len(texts) == 1


def test_five_failures_lock_out_here_and_nowhere_else(client: Client, cast: Cast) -> None:
    del cast
    for _ in range(4):
        assert attempt(client, "rita", "wrong").status_code == 200
    locked = attempt(client, "rita", "wrong")
    assert locked.status_code == 429
    assert "Too many failed tries" in locked.text
    assert locked["Retry-After"] == "900"
    assert attempt(client, "rita", PASSWORD).status_code == 429
    # Another address, another name: not locked, so nobody locks rita out from afar.
    assert attempt(Client(), "rita", PASSWORD, REMOTE_ADDR="198.51.100.7").status_code == 302
    assert attempt(Client(), "adam", PASSWORD).status_code == 302


def test_a_name_that_does_not_exist_is_locked_out_alike(client: Client, cast: Cast) -> None:
    del cast
    statuses = [attempt(client, "nobody-here", "wrong").status_code for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]


def test_a_lock_out_ends_by_itself_and_with_a_sign_in_the_count(client: Client, cast: Cast) -> None:
    del cast
    for _ in range(6):
        attempt(client, "rita", "wrong")
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=16))
    assert attempt(client, "rita", PASSWORD).status_code == 302
    assert not AccessAttempt.objects.exists()


def test_confirming_counts_as_well(client_of: ClientOf, cast: Cast) -> None:
    client = client_of(cast.adam)
    statuses = [client.post("/confirm/", {"password": "wrong"}).status_code for _ in range(5)]
    assert statuses == [422, 422, 422, 422, 429]


def test_nothing_that_was_typed_is_kept(client: Client, cast: Cast) -> None:
    del cast
    attempt(client, "my-password-in-the-wrong-field", "another-secret", headers={"user-agent": "a browser"})
    stored = str(list(AccessAttempt.objects.values()))
    for part in ("my-password", "another-secret", "a browser", "csrf"):
        assert part not in stored


@pytest.mark.parametrize(
    ("proxies", "forwarded", "found"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),
        (1, "rubbish\x00", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_only_the_operators_proxies_are_believed(
    rf: Any, settings: Settings, proxies: int, forwarded: str, found: str
) -> None:
    settings.ROUTEKIT_PROXIES = proxies
    request = rf.get("/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == found


def test_an_address_that_is_none_is_still_one(rf: Any) -> None:
    assert client_address(rf.get("/", REMOTE_ADDR="")) == "0.0.0.0"  # noqa: S104 - as in the code


# The life of a session -----------------------------------------------------------------------------------------------


def test_signing_in_changes_the_session_key(client: Client, cast: Cast) -> None:
    del cast
    session = client.session
    session["planted"] = True
    session.save()
    planted = session.session_key
    attempt(client, "rita", PASSWORD)
    assert client.session.session_key not in {planted, None}
    assert not Session.objects.filter(pk=planted).exists()


@pytest.mark.parametrize(("clock", "seconds"), [(SEEN, 2 * 3600), (STARTED, 12 * 3600)])
def test_a_session_ends_when_one_of_its_clocks_does(
    client_of: ClientOf, cast: Cast, clock: str, seconds: float
) -> None:
    client = client_of(cast.rita)
    assert client.get("/queue/").status_code == 200
    session = client.session
    session[clock] = timezone.now().timestamp() - seconds
    session.save()
    assert client.get("/queue/")["Location"] == "/sign-in/?next=/queue/"
    assert not Session.objects.filter(pk=session.session_key).exists()


def test_a_request_prolongs_the_idle_clock_but_not_beyond_the_absolute_one(client_of: ClientOf, cast: Cast) -> None:
    client = client_of(cast.rita)
    session, now = client.session, timezone.now().timestamp()
    session[SEEN], session[STARTED] = now - 120, now - 12 * 3600 + 600
    session.save()
    client.get("/queue/")
    assert client.session[SEEN] >= now
    left = Session.objects.get(pk=session.session_key).expire_date - timezone.now()
    assert timedelta(seconds=500) < left <= timedelta(seconds=600)


def test_a_forged_or_changed_session_is_nobody(client_of: ClientOf, cast: Cast) -> None:
    client = client_of(cast.rita)
    row = Session.objects.get(pk=client.session.session_key)
    for data in ("", "eyJfYXV0aF91c2VyX2lkIjoiMSJ9", row.session_data[:-8] + "AAAAAAA=", "\x00", "é"):
        Session.objects.filter(pk=row.pk).update(session_data=data)
        assert client.get("/queue/").status_code == 302
    for key in ("a" * 32, "", "../../etc/passwd", "x" * 5000):
        stranger = Client()
        stranger.cookies["sessionid"] = key
        assert stranger.get("/queue/").status_code == 302


def test_a_new_password_ends_the_other_sessions(client_of: ClientOf, cast: Cast) -> None:
    here, elsewhere = client_of(cast.rita), client_of(cast.rita)
    new = "three words of the tests"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert here.post("/account/password/", form)["Location"] == "/account/"
    assert here.get("/queue/").status_code == 200
    assert elsewhere.get("/queue/").status_code == 302


def test_a_weak_password_is_refused_at_its_field(client_of: ClientOf, cast: Cast) -> None:
    form = {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    assert "at least 12 characters" in client_of(cast.rita).post("/account/password/", form).text


def test_a_deactivated_account_is_signed_out_at_its_next_request(client_of: ClientOf, cast: Cast) -> None:
    client = client_of(cast.rita)
    User.objects.filter(pk=cast.rita.pk).update(is_active=False)
    assert client.get("/queue/").status_code == 302
    assert attempt(Client(), "rita", PASSWORD).status_code == 200


_COOKIES = """
import django
from django.conf import settings
django.setup()
print(settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME,
      settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE,
      settings.SESSION_COOKIE_HTTPONLY, settings.CSRF_COOKIE_HTTPONLY, settings.SESSION_COOKIE_SAMESITE,
      settings.SESSION_COOKIE_DOMAIN, settings.SESSION_COOKIE_PATH, settings.SECURE_HSTS_SECONDS)
"""


def test_under_https_the_cookies_belong_to_this_host_alone(tmp_path: Any) -> None:
    environment = clean_environment(
        {**make_keys(), "ROUTEKIT_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "routekit_site.settings"}
    )
    done = subprocess.run(
        [sys.executable, "-c", _COOKIES], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        "__Host-sessionid",
        "__Host-csrftoken",
        *["True"] * 4,
        "Lax",
        "None",
        "/",
        "31536000",
    ]
