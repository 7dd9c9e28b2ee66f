"""What every answer carries, pages, files and errors alike, and a confirmation before a call of high risk runs."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from routekit_site.tenancy.models import User
from routekit_site.tenancy.reauthentication import SESSION_KEY
from tests.fixtures.cast import Cast
from tests.fixtures.gates import Opened

ClientOf = Callable[[User], Client]
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


@pytest.mark.parametrize(
    "path",
    ["/queue/", "/jobs/", "/admin/", "/nothing/", "/queue/rows.json", "/static/js/app.js", "/healthz", "/account/"],
)
def test_every_answer_says_who_may_embed_it(client_of: ClientOf, cast: Cast, path: str) -> None:
    answer = client_of(cast.adam).get(path)
    answer.close()
    headers = answer.headers
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "camera=()" in headers["Permissions-Policy"]


@pytest.mark.parametrize("path", ["/queue/", "/nothing/", "/sign-in/", "/confirm/", "/account/", "/account/app/"])
def test_every_page_has_the_strict_policy(client_of: ClientOf, cast: Cast, path: str) -> None:
    policy = client_of(cast.adam).get(path, follow=True).headers["Content-Security-Policy"]
    assert set(policy.split("; ")) == {*POLICY, "require-trusted-types-for 'script'"}


def test_the_admin_goes_without_trusted_types_only(client_of: ClientOf, cast: Cast) -> None:
    policy = client_of(cast.adam).get("/admin/").headers["Content-Security-Policy"]
    assert set(policy.split("; ")) == POLICY


def test_under_https_the_browser_is_told_to_stay_there(client: Client, cast: Cast, settings: object) -> None:
    del cast
    settings.SECURE_HSTS_SECONDS = 31_536_000  # type: ignore[attr-defined]
    settings.SECURE_SSL_REDIRECT = True  # type: ignore[attr-defined]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # type: ignore[attr-defined]
    there = client.get("/sign-in/", headers={"x-forwarded-proto": "https"})
    assert there.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert client.get("/sign-in/")["Location"] == "https://testserver/sign-in/"
    # Health is asked inside the host.
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "testserver.evil.example", "testserver:80@evil.example", "", "a\x00b"]
)
def test_another_host_is_refused(client: Client, cast: Cast, host: str) -> None:
    del cast
    answer = client.get("/sign-in/", headers={"host": host})
    assert answer.status_code == 400
    assert "evil" not in answer.text


def test_a_forwarded_host_means_nothing(client: Client, cast: Cast) -> None:
    del cast
    answer = client.get("/queue/", headers={"x-forwarded-host": "evil.example", "x-original-url": "/admin/"})
    assert answer["Location"] == "/sign-in/?next=/queue/"


def test_a_call_of_high_risk_needs_a_fresh_proof(
    client_of: ClientOf, cast: Cast, open_risky: Callable[[], Opened]
) -> None:
    gate = open_risky().gate
    client = client_of(cast.rita)
    session = client.session
    session[SESSION_KEY] = timezone.now().timestamp() - 3600
    session.save()
    sent = {"digest": gate.digest, "view_digest": gate.view_digest, "reason": "", "confirm": gate.tool}
    path = f"/queue/{gate.pk}/decide/"
    key = uuid.uuid4().hex
    refused = client.post(
        path, {**sent, "kind": "approve", "idempotency_key": key}, headers={"accept": "application/json"}
    )
    assert refused.status_code == 403
    assert refused.json()["confirm"] == "/confirm/"
    gate.refresh_from_db()
    assert gate.state == "pending"
    # Rejecting it never waits for a proof.
    assert client.post(path, {**sent, "kind": "reject", "reason": "No.", "idempotency_key": key}).status_code == 302
