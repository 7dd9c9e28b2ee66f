"""What stands before Django, asked over a real connection: headers that Daphne would believe are worth nothing."""

from __future__ import annotations

import httpx
import pytest

from tests.fixtures.processes import Site
from tests.traces.wire import Wire


@pytest.mark.parametrize("prefix", [b"//evil.example", b"/evil", b"\xc3\xa9", b"https://evil.example/"])
def test_nobody_moves_the_site_below_a_path_of_their_own(embedded: Site, prefix: bytes) -> None:
    headers = [(b"Daphne-Root-Path", prefix)]
    answer = httpx.get(f"{embedded.url}/jobs/", headers=headers)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/sign-in/?next=/jobs/"
    page = httpx.get(f"{embedded.url}/sign-in/", headers=headers)
    assert page.status_code == 200
    assert "evil" not in page.text


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/ws/feed/?tenant=1", {}),
        ("/ws/feed/?tenant=1", {"Origin": "http://["}),
        ("/ws/feed/?tenant=1", {"Origin": "http://127.0.0.1:99999"}),
        ("/ws/feed/?tenant=1", {"Origin": "http://evil.example"}),
        ("/ws/feed/?tenant=1", {"Sec-WebSocket-Protocol": "é"}),
        ("/ws/feed/?tenant=1", {"Cookie": "sessionid=é; \x01"}),
        ("/ws/", {}),
        ("/", {}),
        ("/jobs/", {"Sec-WebSocket-Protocol": "chat"}),
    ],
)
def test_a_socket_that_is_not_ours_is_refused_without_an_error(
    embedded: Site, path: str, headers: dict[str, str]
) -> None:
    before = len(embedded.logs())
    with Wire(embedded.url, path, headers) as wire:
        assert wire.status() in {400, 403}
    assert "Traceback" not in embedded.logs()[before:]
    assert " ERROR " not in embedded.logs()[before:].replace("ERROR django.request Service Unavailable: /readyz", "")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /%s HTTP/1.1" % ("a" * 9000), {400, 404, 414}),
        ("GET /é HTTP/1.1", {400}),
        ("GET /?é HTTP/1.1", {400}),
        ("POST /sign-in/ HTTP/1.1\r\nContent-Length: -1", {400}),
        ("POST /sign-in/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", {400}),
        ("POST /sign-in/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2", {400}),
        ("GET /jobs/ HTTP/1.1\r\nX-Forwarded-Host: evil.example\r\nForwarded: host=evil.example", {302}),
        ("GET /jobs/ HTTP/1.1\r\nX_Forwarded_For: 1.1.1.1\r\nX-HTTP-Method-Override: DELETE", {302}),
        ("GET http://evil.example/jobs/ HTTP/1.1", {302, 400, 404}),
        ("CONNECT evil.example:443 HTTP/1.1", {400, 404, 405}),
    ],
)
def test_requests_that_no_client_sends_break_nothing(embedded: Site, line: str, status: set[int]) -> None:
    with Wire(embedded.url, "", {}, line=line) as wire:
        found = wire.status()
        heard = wire.rest(patience=0.2)
    assert found in status, heard[:300]
    assert b"evil.example" not in heard
