"""Sign-in at the operator's OpenID Connect provider: a real one, on this machine; an identity alone opens nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from django.core.cache import cache
from django.test import Client

from routekit_site.tenancy.models import Membership, User
from tests.fixtures.cast import Cast

ClientOf = Callable[[User], Client]
SUBJECT = "subject-4711"


@dataclass
class Provider:
    """A provider for one test: it hands out codes, and tokens for them."""

    url: str = ""
    issuer: str = ""
    audience: str = "routekit"
    token_requests: list[dict[str, list[str]]] = field(default_factory=list)

    def answer(self, path: str, form: dict[str, list[str]]) -> dict[str, Any] | None:
        """What it says at an address."""
        if path == "/.well-known/openid-configuration":
            names = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
            ends = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in names.items()}
            return {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **ends}
        if path == "/token":
            self.token_requests.append(form)
            claims = {"iss": self.issuer or self.url, "aud": self.audience, "sub": SUBJECT, "exp": time.time() + 60}
            return {"access_token": "a", "token_type": "bearer", "id_token": jwt.encode(claims, "k" * 32)}
        if path == "/userinfo":
            return {"sub": SUBJECT, "email": "rita@example.org", "email_verified": True, "preferred_username": "rita"}
        return None


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    """A provider that runs, and a site that knows it."""
    found = Provider()

    class Handler(BaseHTTPRequestHandler):
        def _say(self, form: dict[str, list[str]]) -> None:
            told = found.answer(urlsplit(self.path).path, form)
            self.send_response(200 if told else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def do_GET(self) -> None:
            self._say({})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._say(parse_qs(self.rfile.read(length).decode()))

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    app = {
        "provider_id": "oidc",
        "name": "Acme ID",
        "client_id": "routekit",
        "secret": "s",
        "settings": {"server_url": found.url},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
    settings.OIDC_ORIGIN, settings.OIDC_NAME = found.url, "Acme ID"
    cache.clear()
    yield found
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def go(client: Client, query: str = "") -> Any:
    """Through the provider and back."""
    away = client.post(f"/oidc/oidc/login/{query}")
    assert away.status_code == 302, away.text[:300]
    asked = parse_qs(urlsplit(away["Location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    return client.get("/oidc/oidc/callback/", {"code": "c", "state": asked["state"][0]})


def test_an_unknown_identity_gets_no_account(client: Client, cast: Cast, provider: Provider) -> None:
    users = User.objects.count()
    answer = go(client)
    assert "No account for this identity yet" in answer.text
    assert User.objects.count() == users
    assert not SocialAccount.objects.exists()
    assert "_auth_user_id" not in client.session
    # The same address as rita's proves nothing.
    assert provider.token_requests[0]["code_verifier"]
    assert cast.rita.email == "rita@example.org"


def test_an_operator_may_say_so_and_still_it_opens_no_tenant(
    client: Client, cast: Cast, provider: Provider, settings: Any
) -> None:
    del cast, provider
    settings.OIDC_SIGN_UP = True
    memberships = Membership.objects.count()
    assert go(client)["Location"] == "/"
    made = SocialAccount.objects.get().user
    assert made.username != "rita"
    assert not made.is_staff
    assert not made.is_superuser
    assert not made.has_usable_password()
    assert Membership.objects.count() == memberships
    assert client.get("/queue/").status_code == 404
    assert "You belong to no tenant yet" in client.get("/").text


def test_one_connects_ones_own_identity_and_signs_in_by_it(
    client_of: ClientOf, client: Client, cast: Cast, provider: Provider
) -> None:
    del provider
    answer = go(client_of(cast.rita), "?process=connect&next=/account/")
    assert answer["Location"] == "/account/"
    assert SocialAccount.objects.get().user == cast.rita
    assert "connected" in client_of(cast.rita).get("/account/").text
    assert go(client)["Location"] == "/"
    assert client.get("/queue/").status_code == 200
    # Nobody else takes it over.
    go(client_of(cast.adam), "?process=connect")
    assert SocialAccount.objects.get().user == cast.rita
    pk = SocialAccount.objects.get().pk
    client_of(cast.adam).post("/account/identities/", {"account": pk})
    assert SocialAccount.objects.exists()
    client_of(cast.rita).post("/account/identities/", {"account": pk})
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("wrong", [{"issuer": "https://evil.example"}, {"audience": "another-site"}])
def test_a_token_of_another_issuer_or_for_another_site_is_refused(
    client: Client, cast: Cast, provider: Provider, settings: Any, wrong: dict[str, str]
) -> None:
    del cast
    settings.OIDC_SIGN_UP = True
    for name, value in wrong.items():
        setattr(provider, name, value)
    answer = go(client)
    assert answer.status_code == 401
    assert "The provider did not sign you in" in answer.text
    assert not SocialAccount.objects.exists()


@pytest.mark.parametrize("query", [{}, {"code": "c"}, {"code": "c", "state": "forged"}, {"error": "access_denied"}])
def test_a_forged_return_is_refused(client: Client, cast: Cast, provider: Provider, query: dict[str, str]) -> None:
    del cast
    assert client.get("/oidc/oidc/callback/", query).status_code == 401
    assert not provider.token_requests


def test_connecting_takes_a_form_and_pages_allow_the_way_there(
    client_of: ClientOf, client: Client, cast: Cast, provider: Provider
) -> None:
    # A link from elsewhere starts nothing: the page asks first.
    page = client_of(cast.rita).get("/oidc/oidc/login/?process=connect")
    assert page.status_code == 200
    assert "Go on" in page.text
    for answer in (client.get("/sign-in/"), page, client_of(cast.rita).get("/account/")):
        assert f"form-action 'self' {provider.url}" in answer["Content-Security-Policy"]
    assert provider.url not in client_of(cast.rita).get("/queue/")["Content-Security-Policy"]


def test_a_provider_that_is_away_is_said(client: Client, cast: Cast, provider: Provider, settings: Any) -> None:
    del cast, provider
    settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["settings"]["server_url"] = "http://127.0.0.1:9"
    client.raise_request_exception = False
    answer = client.post("/oidc/oidc/login/")
    assert answer.status_code == 401
    assert "The provider did not sign you in" in answer.text
