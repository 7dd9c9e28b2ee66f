"""What policy lets a call ask for is what is asked for: the host that answers can't send it on to another one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agents.states import CallState, RunState
from approvals.types import AllowanceMode
from tests.runs.conftest import Bench, allow


class Redirecting(ThreadingHTTPServer):
    """Sends everybody who asks for `/` to the same port of another name; `seen` are the paths that were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Redirecting

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        self.send_response(302 if self.path == "/" else 200)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/transfer?to=mallory")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server() -> Iterator[Redirecting]:
    with Redirecting() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_a_redirect_does_not_lead_past_the_allow_list(bench: Bench, server: Redirecting) -> None:
    port = server.server_port
    bench.agent.sandbox = {"network": {"allowed_networks": [f"127.0.0.1:{port}", f"localhost:{port}"]}}
    bench.agent.save()
    one_host = [{"pointer": "/url", "kind": "host_in", "value": [f"127.0.0.1:{port}"]}]
    allow(bench.cast.acme.pk, "http_request", AllowanceMode.ALLOW, constraints=one_host)
    run = bench.go(f'http_request {{"url": "http://127.0.0.1:{port}/"}}')
    assert server.seen == ["/"]
    (call,) = bench.calls(run)
    assert (call.state, call.attempts) == (CallState.FAILED, 1)
    assert "a redirect to another host" in bench.told(run)[0]
    asked = bench.go(f'http_request {{"url": "http://localhost:{port}/transfer?to=mallory"}}')
    assert asked.state == RunState.WAITING
    assert server.seen == ["/"]
