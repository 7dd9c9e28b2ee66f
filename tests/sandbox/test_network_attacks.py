"""Attacks N1 to N10 and the broker's door: a tool has no network of its own, and the broker obeys only the worker."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.conftest import Host

if TYPE_CHECKING:
    from collections.abc import Iterator


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"hello from the server"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def log_message(self, *_args: Any) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()


def network(**more: Any) -> dict[str, Any]:
    return {"policy": {"network": more}, "permissions": ("network",)}


@pytest.mark.parametrize("permissions", [(), ("filesystem",), ("network",)])
def test_n1_to_n8_no_socket_of_any_kind(host: Host, root: Any, permissions: tuple[str, ...]) -> None:
    policy = {"filesystem": {"sandbox_root": str(root)}, "network": {"allowed_hosts": ["example.org"]}}
    outcome = host.run("sockets", policy=policy, permissions=permissions)
    assert set(outcome.value.values()) <= {"EPERM", "EACCES", "EAFNOSUPPORT"}
    assert outcome.value["tcp"] == "EPERM"
    assert {v.attack_class for v in outcome.violations} == {"network"}


def test_n2_no_resolver(host: Host) -> None:
    assert host.run("resolve").value == "REFUSED"


def test_n9_n10_the_descriptors_are_no_sockets_to_the_tool(host: Host) -> None:
    assert set(host.run("socket_calls", **network(allowed_hosts=["example.org"])).value.values()) == {"EPERM"}


def test_a_private_address_is_reached_when_an_operator_named_it(host: Host, server: str) -> None:
    outcome = host.run("get", url=f"http://{server}/", **network(allowed_networks=[server]))
    assert outcome.value == {"status": 200, "text": "hello from the server"}
    assert outcome.usage.bytes_received > 20
    assert outcome.usage.bytes_sent > 20
    assert outcome.violations == []


def test_n19_and_not_when_none_did(host: Host, server: str) -> None:
    outcome = host.run("get", url=f"http://{server}/", **network(allowed_hosts=["127.0.0.1:" + server.split(":")[1]]))
    assert outcome.kind == "network_refused"
    assert "not a public address" in outcome.message
    assert (outcome.violations[0].attack_class, outcome.violations[0].tier) == ("network", host.tier)


def test_n11_a_host_that_is_not_allowed(host: Host) -> None:
    outcome = host.run("get", url="http://evil.example/", **network(allowed_hosts=["good.example"]))
    assert (outcome.kind, outcome.retryable) == ("network_refused", False)
    assert outcome.usage.bytes_sent == 0


def test_n37_no_permission_no_network(host: Host, server: str) -> None:
    policy = {"network": {"allowed_networks": [server]}}
    outcome = host.run("get", url=f"http://{server}/", policy=policy)
    assert outcome.kind == "network_refused"
    assert host.run("get", url=f"http://{server}/", permissions=("network",)).kind == "network_refused"


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("policy", "network_refused"),
        ("not_json", "network_refused"),
        ("huge", "network_refused"),
        ("no_url", "network_refused"),
    ],
)
def test_the_broker_takes_no_policy_and_no_rubbish_from_a_tool(host: Host, server: str, what: str, answer: str) -> None:
    outcome = host.run("broker_garbage", what=what, **network(allowed_networks=[server]))
    assert outcome.value in (answer, "closed")
    assert host.run("get", url=f"http://{server}/", **network(allowed_networks=[server])).succeeded


def test_n24_a_proxy_in_the_environment_is_ignored(server: str) -> None:
    own = Host.start(
        "T1", HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9"
    )
    try:
        assert own.run("get", url=f"http://{server}/", **network(allowed_networks=[server])).succeeded
    finally:
        own.stop()


def test_a_call_sends_and_receives_no_more_than_it_may(host: Host, server: str) -> None:
    policy = network(allowed_networks=[server])
    policy["policy"]["limits"] = {"max_egress_kb": 1}
    outcome = host.run("get_many", url=f"http://{server}/", count=20, **policy)
    assert 0 < outcome.value["passed"] < 10
    assert outcome.usage.bytes_sent + outcome.usage.bytes_received < 1024 + 500
    assert "as much as one call may" in outcome.violations[0].detail


def test_n30_exactly_as_many_requests_as_allowed(host: Host, server: str) -> None:
    policy = network(allowed_networks=[server], rate_limit={"requests_per_minute": 60}, max_redirects=1)
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda _i: host.run("get_many", url=f"http://{server}/", count=10, **policy).value, range(8))
        )
    assert sum(f["passed"] for f in found) == 60
    late = host.run("get", url=f"http://{server}/", **policy)
    assert (late.kind, late.retryable) == ("network_rate_limited", True)
    assert 0 < late.retry_after <= 60
    # Another tenant's minute is its own.
    assert host.run("get", url=f"http://{server}/", tenant=2, **policy).succeeded
