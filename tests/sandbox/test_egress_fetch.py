"""Attacks N11 to N36, in the broker's own code: real servers on this machine, a resolver that the test controls."""

# Addresses as attackers write them, many to a line; a server whose state is its class.
# ruff: noqa: RUF001, S104, E501, ARG001

from __future__ import annotations

import gzip
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agents.sandbox import NetworkSandbox
from agents.sandbox.egress.connection import Budget
from agents.sandbox.egress.fetch import Fetcher, RefusedError, Target, tls_context
from agents.sandbox.egress.rate import LocalRateLimiter, RateLimitError
from approvals import addresses

if TYPE_CHECKING:
    from pathlib import Path

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    pages: ClassVar[dict[str, Answer]]
    seen: ClassVar[list[tuple[str, str, dict[str, str]]]]

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.close_connection = True
        page = self.pages.get(self.path.partition("?")[0])
        try:
            page(self) if page else self.reply(b"ok")
        except (BrokenPipeError, ConnectionResetError):
            """The broker hung up, as it should."""

    do_POST = do_HEAD = do_GET  # noqa: N815 -- the names that http.server calls

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Quiet."""


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: Any) -> None:
        """A client that hangs up is what some tests are about."""


@dataclass
class Server:
    """A server on 127.0.0.1 with pages that tests set, and what it was asked."""

    http: Quiet
    pages: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.http.server_port


def running(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    class Own(Handler):
        pages: ClassVar[dict[str, Answer]] = {}
        seen: ClassVar[list[tuple[str, str, dict[str, str]]]] = []

    with Quiet(("127.0.0.1", 0), Own) as http:
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        server = Server(http, Own.pages, Own.seen)
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        http.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from running()


@dataclass
class Names:
    """A resolver whose answers a test decides, counting look-ups."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, _port: int, _budget: Budget) -> list[Any]:
        self.asked.append(host)
        queue = self.answers[host]
        return [ipaddress.ip_address(a) for a in (queue.pop(0) if len(queue) > 1 else queue[0])]


def fetcher(names: Names | None = None, tls: ssl.SSLContext | None = None, **policy: Any) -> Fetcher:
    return Fetcher(NetworkSandbox(**policy), "t", LocalRateLimiter(), tls or tls_context(), resolver=names or Names())


def get(
    one: Fetcher, url: str, *, method: str = "GET", headers: Any = (), body: bytes = b"", seconds: float = 10
) -> Any:
    return one.fetch(method, url, list(headers), body, Budget(time.monotonic() + seconds))


def refusal(one: Fetcher, url: str, **more: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        get(one, url, **more)
    return caught.value


def local(server: Server, *names: str) -> dict[str, Any]:
    """A policy that lets the named hosts reach the test's server."""
    hosts = [f"{name}:{server.port}" for name in names]
    return {"allowed_networks": hosts}


def test_n11_no_look_up_for_a_host_that_is_not_allowed() -> None:
    names = Names({"evil.example": [["1.1.1.1"]]})
    error = refusal(fetcher(names, allowed_hosts=["good.example"]), "http://evil.example/")
    assert (error.kind, names.asked) == ("network_refused", [])


def test_n12_blocked_beats_allowed() -> None:
    both = fetcher(allowed_hosts=["*.example.org"], blocked_hosts=["api.example.org", "9.9.9.9"])
    assert "blocked" in str(refusal(both, "http://api.example.org/"))
    names = Names({"www.example.org": [["9.9.9.9"]]})
    both.resolver = names
    assert "9.9.9.9 is blocked" in str(refusal(both, "http://www.example.org/"))


def test_a_wildcard_covers_names_below_and_not_the_name_itself_or_look_alikes() -> None:
    one = fetcher(allowed_hosts=["*.example.org"])
    for host in ("example.org", "evilexample.org", "example.org.evil.test"):
        assert "not among" in str(refusal(one, f"http://{host}/"))


def test_n21_rebinding_one_look_up_and_the_checked_address(server: Server) -> None:
    names = Names({"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]})
    one = fetcher(names, allowed_hosts=[f"rebind.example:{server.port}"])
    refusal(one, f"http://rebind.example:{server.port}/", seconds=0.3)
    assert names.asked == ["rebind.example"]
    assert server.seen == []


def test_n22_mixed_answers_are_refused_whole(server: Server) -> None:
    names = Names({"mixed.example": [["93.184.216.34", "127.0.0.1"]]})
    error = refusal(fetcher(names, allowed_hosts=["mixed.example"]), "http://mixed.example/")
    assert "127.0.0.1 is not a public address" in str(error)


def test_the_connection_goes_to_the_address_and_the_name_to_the_server(server: Server) -> None:
    names = Names({"inner.example": [["127.0.0.1"]]})
    answer = get(fetcher(names, **local(server, "inner.example")), f"http://INNER.example.:{server.port}/a?b=c")
    assert (answer.status, answer.body) == (200, b"ok")
    assert server.seen[0][1] == "/a?b=c"
    assert server.seen[0][2]["host"] == f"inner.example:{server.port}"


@pytest.mark.parametrize("port", [22, 25, 6379, 8080])
def test_n32_ports(port: int) -> None:
    error = refusal(fetcher(allowed_hosts=["example.org"]), f"http://example.org:{port}/")
    assert str(error) == f"Port {port} of example.org is not allowed for this agent."


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://127.0.0.1:1/", "not among the hosts"),
        ("http://169.254.169.254/latest/", "not among the hosts"),
        ("file:///etc/passwd", "Only http and https"),
        ("gopher://inner.example/", "Only http and https"),
        ("//other.example/", "not among the hosts"),
        ("http://user:pw@inner.example/", "user name"),
        ("http://2130706433/", "a number"),
    ],
)
def test_n23_redirects_are_checked_again(server: Server, location: str, words: str) -> None:
    server.pages["/"] = lambda h: h.reply(b"", 302, Location=location)
    names = Names({"inner.example": [["127.0.0.1"]]})
    error = refusal(fetcher(names, **local(server, "inner.example")), f"http://inner.example:{server.port}/")
    assert words in str(error)
    assert len(server.seen) == 1


def test_n23_redirects_are_counted(server: Server) -> None:
    server.pages["/"] = lambda h: h.reply(b"", 302, Location="/")
    names = Names({"inner.example": [["127.0.0.1"]]})
    error = refusal(
        fetcher(names, max_redirects=3, **local(server, "inner.example")), f"http://inner.example:{server.port}/"
    )
    assert "more than 3 redirects" in str(error)
    assert len(server.seen) == 4


def test_n23_nothing_is_sent_to_another_host_than_the_one_that_was_asked_for(server: Server) -> None:
    names = Names({"one.example": [["127.0.0.1"]], "two.example": [["127.0.0.1"]]})
    there = f"http://two.example:{server.port}/there"
    server.pages["/"] = lambda h: h.reply(b"", 307, Location=there)
    server.pages["/same"] = lambda h: h.reply(b"", 307, Location="/there")
    one = fetcher(names, **local(server, "one.example", "two.example"))
    headers = [("Authorization", "Bearer x"), ("Cookie", "a=b"), ("X-Api-Key", "k"), ("Accept", "text/plain")]
    answer = get(one, f"http://one.example:{server.port}/", method="POST", headers=headers, body=b"data")
    assert (answer.status, dict(answer.headers)["Location"]) == (307, there)
    assert [(m, p) for m, p, _ in server.seen] == [("POST", "/")]
    get(one, f"http://one.example:{server.port}/same", headers=headers)
    same = server.seen[2][2]
    assert {"authorization", "cookie", "x-api-key"} <= set(same)


def test_n23_a_redirect_to_another_port_is_not_followed(server: Server) -> None:
    names = Names({"one.example": [["127.0.0.1"]]})
    server.pages["/"] = lambda h: h.reply(b"", 302, Location="http://one.example:1/")
    rules: dict[str, Any] = {"allowed_networks": [f"one.example:{server.port}", "one.example:1"]}
    assert get(fetcher(names, **rules), f"http://one.example:{server.port}/").status == 302


@pytest.mark.parametrize(
    ("asked", "redirected", "elsewhere"),
    [
        ("http://one.example/", "https://one.example/x", False),
        ("https://one.example/", "https://one.example:8443/", True),
        ("http://one.example:8080/", "https://one.example/", True),
        ("https://one.example/", "https://www.one.example/", True),
    ],
)
def test_n23_the_same_host_by_https_is_no_other_place(asked: str, redirected: str, *, elsewhere: bool) -> None:
    assert Target.parse(redirected).is_elsewhere(Target.parse(asked)) is elsewhere


def test_n23_a_redirected_post_becomes_a_get_without_its_body(server: Server) -> None:
    server.pages["/"] = lambda h: h.reply(b"", 303, Location="/there")
    names = Names({"inner.example": [["127.0.0.1"]]})
    url = f"http://inner.example:{server.port}/"
    get(fetcher(names, **local(server, "inner.example")), url, method="POST", body=b"data")
    assert [(m, p) for m, p, _ in server.seen] == [("POST", "/"), ("GET", "/there")]
    assert "content-length" not in server.seen[1][2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nInjected: b"),
        ("X\r\nInjected", "b"),
        ("X", "a\nb"),
        ("X", "a\0b"),
        ("X y", "a"),
        ("", "a"),
        ("Host", "other.example"),
        ("Transfer-Encoding", "chunked"),
        ("Proxy-Authorization", "x"),
        ("Proxy-Connection", "x"),
        ("TE", "trailers"),
        ("Upgrade", "websocket"),
        ("Expect", "100-continue"),
        ("X", "\u2028"),
        ("X", "x" * 40_000),
    ],
)
def test_n26_header_fields(name: str, value: str) -> None:
    names = Names({"example.org": [["1.1.1.1"]]})
    error = refusal(fetcher(names, allowed_hosts=["example.org"]), "http://example.org/", headers=[(name, value)])
    assert error.kind == "network_refused"
    assert names.asked == []


def test_n26_what_the_broker_sets_itself_is_dropped(server: Server) -> None:
    names = Names({"inner.example": [["127.0.0.1"]]})
    headers = [("Content-Length", "999"), ("Connection", "close"), ("Accept-Encoding", "br"), ("X-Mine", "1")]
    get(fetcher(names, **local(server, "inner.example")), f"http://inner.example:{server.port}/", headers=headers)
    sent = server.seen[0][2]
    assert (sent["accept-encoding"], sent["x-mine"]) == ("gzip", "1")
    assert "content-length" not in sent


def drip(h: Handler, *, headers: bool) -> None:
    if not headers:
        h.send_response(200)
        h.send_header("Content-Length", "1000")
        h.end_headers()
    for _ in range(200):
        h.wfile.write(b"H")
        h.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize("headers", [True, False])
def test_n27_a_slow_drip_meets_the_total_deadline(server: Server, *, headers: bool) -> None:
    server.pages["/"] = lambda h: drip(h, headers=headers)
    names = Names({"inner.example": [["127.0.0.1"]]})
    started = time.monotonic()
    error = refusal(
        fetcher(names, **local(server, "inner.example")), f"http://inner.example:{server.port}/", seconds=0.6
    )
    assert error.kind == "network_error"
    assert time.monotonic() - started < 5


def endless(h: Handler) -> None:
    h.send_response(200)
    h.end_headers()
    for _ in range(1000):
        h.wfile.write(b"x" * (1 << 20))


def test_n28_an_endless_body_is_cut(server: Server) -> None:
    server.pages["/"] = endless
    names = Names({"inner.example": [["127.0.0.1"]]})
    one = fetcher(names, max_response_kb=100, **local(server, "inner.example"))
    budget = Budget(time.monotonic() + 20)
    with pytest.raises(RefusedError, match="larger than 100 KB") as caught:
        one.fetch("GET", f"http://inner.example:{server.port}/", [], b"", budget)
    assert caught.value.kind == "result_too_large"
    assert budget.received < 2 << 20


@pytest.mark.parametrize(
    ("body", "encoding", "words"),
    [
        (gzip.compress(b"\0" * (50 << 20), mtime=0), "gzip", "larger than"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "gzip, gzip", "not asked for"),
        (b"x", "br", "not asked for"),
        (b"x", "zstd", "not asked for"),
        (b"not gzip", "gzip", "broken"),
    ],
    ids=["bomb", "nested", "brotli", "zstd", "broken"],
)
def test_n29_encodings(server: Server, body: bytes, encoding: str, words: str) -> None:
    server.pages["/"] = lambda h: h.reply(body, Content_Encoding=encoding)
    names = Names({"inner.example": [["127.0.0.1"]]})
    error = refusal(
        fetcher(names, max_response_kb=256, **local(server, "inner.example")), f"http://inner.example:{server.port}/"
    )
    assert words in str(error)


def test_gzip_within_the_limit_is_decoded(server: Server) -> None:
    server.pages["/"] = lambda h: h.reply(gzip.compress(b"hello" * 1000, mtime=0), Content_Encoding="gzip")
    names = Names({"inner.example": [["127.0.0.1"]]})
    answer = get(fetcher(names, **local(server, "inner.example")), f"http://inner.example:{server.port}/")
    assert answer.body == b"hello" * 1000
    assert "content-encoding" not in {k.lower() for k, _ in answer.headers}


def test_a_request_body_has_a_limit() -> None:
    error = refusal(
        fetcher(allowed_hosts=["a.example"], max_request_kb=1), "http://a.example/", method="POST", body=b"x" * 2000
    )
    assert "larger than 1 KB" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "http://good.example:0/",
        "http://good.example:65536/",
        "http://good.example:+80/",
        "http://good.example:8_0/",
        "http://good.example\\@127.0.0.1/",
        "http://good.example@127.0.0.1/",
        "http://127.0.0.1@good.example/",
        "http://good.example%2eevil.example/",
        "http://good.example%00.evil.example/",
        "http://[fe80::1%25eth0]/",
        "http://[::ffff:7f00:1]/",
        "http://[good.example]/",
        "http:///good.example/",
        "http:good.example/",
        "http://go od.example/",
        "http://good.example\t/",
        "http://xn--/",
        "http://good.example.:80.:80/",
        "http://g\u043e\u043ed.example/",
        "//good.example/",
    ],
)
def test_urls_that_two_readers_may_read_in_two_ways_are_refused(url: str) -> None:
    names = Names({"good.example": [["93.184.216.34"]]})
    error = refusal(fetcher(names, allowed_hosts=["good.example"]), url)
    assert (error.kind, names.asked) == ("network_refused", [])


def test_a_server_that_only_says_wait_meets_the_limits(server: Server) -> None:
    def stall(h: Handler) -> None:
        for _ in range(20_000):
            h.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    server.pages["/"] = stall
    names = Names({"inner.example": [["127.0.0.1"]]})
    one = fetcher(names, **local(server, "inner.example"))
    budget = Budget(time.monotonic() + 20, most=200_000)
    with pytest.raises(RefusedError, match="as much as one call may"):
        one.fetch("GET", f"http://inner.example:{server.port}/", [], b"", budget)
    assert budget.received < 400_000


def test_very_many_header_fields_of_an_answer_are_cut(server: Server) -> None:
    def many(h: Handler) -> None:
        h.send_response(200)
        for i in range(20_000):
            h.send_header(f"X-{i}", "y" * 100)
        h.end_headers()

    server.pages["/"] = many
    names = Names({"inner.example": [["127.0.0.1"]]})
    error = refusal(fetcher(names, **local(server, "inner.example")), f"http://inner.example:{server.port}/")
    assert error.kind == "network_error"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "G\r\nET"])
def test_methods(method: str) -> None:
    assert "can't be used" in str(refusal(fetcher(allowed_hosts=["a.example"]), "http://a.example/", method=method))


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return cert_file, key_file


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    cert, key = certificate(tmp_path, "secure.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    for server in running(context):
        yield server, cert


def test_n34_tls_is_verified(secure: tuple[Server, Path]) -> None:
    server, cert = secure
    names = Names({"secure.example": [["127.0.0.1"]], "front.example": [["127.0.0.1"]]})
    policy = local(server, "secure.example", "front.example")
    url = f"https://secure.example:{server.port}/"
    assert "could not be verified" in str(refusal(fetcher(names, **policy), url))
    trusted = tls_context(str(cert))
    assert get(fetcher(names, trusted, **policy), url).body == b"ok"
    assert "could not be verified" in str(
        refusal(fetcher(names, trusted, **policy), f"https://front.example:{server.port}/")
    )


def test_n23_n34_no_way_from_https_to_http(secure: tuple[Server, Path], server: Server) -> None:
    safe, cert = secure
    safe.pages["/"] = lambda h: h.reply(b"", 302, Location=f"http://plain.example:{server.port}/")
    names = Names({"secure.example": [["127.0.0.1"]], "plain.example": [["127.0.0.1"]]})
    policy = {"allowed_networks": [f"secure.example:{safe.port}", f"plain.example:{server.port}"]}
    error = refusal(fetcher(names, tls_context(str(cert)), **policy), f"https://secure.example:{safe.port}/")
    assert "from https to http" in str(error)
    assert server.seen == []


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "100.100.100.200", "169.254.169.254", "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1",
        "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::1", "::",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "2001::1", "2001:db8::1", "2001:10::1", "2001:20::1", "3fff::1",
        "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "100::1", "4000::1",
    ],
)  # fmt: skip
def test_n17_to_n20_addresses_that_are_not_public(text: str) -> None:
    assert addresses.refusal(ipaddress.ip_address(text)) is not None
    assert refusal(fetcher(Names({"a.example": [[text]]}), allowed_hosts=["a.example"]), "http://a.example/")


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are(text: str) -> None:
    assert addresses.refusal(ipaddress.ip_address(text)) is None


def test_a_named_host_does_not_open_the_metadata_service() -> None:
    rules = NetworkSandbox(allowed_networks=["inner.example:80", "169.254.169.254:80"]).rules()
    metadata = ipaddress.ip_address("169.254.169.254")
    assert rules.permits_private("inner.example", 80, ipaddress.ip_address("10.0.0.1"))
    assert not rules.permits_private("inner.example", 80, metadata)
    assert rules.permits_private("169.254.169.254", 80, metadata)


def test_a_named_network_opens_only_itself() -> None:
    rules = NetworkSandbox(allowed_hosts=["a.example"], allowed_networks=["10.1.0.0/16"]).rules()
    assert rules.permits_private("a.example", 80, ipaddress.ip_address("10.1.2.3"))
    assert not rules.permits_private("a.example", 80, ipaddress.ip_address("10.2.2.3"))
    assert not rules.permits_private("a.example", 80, ipaddress.ip_address("169.254.169.254"))


def corpus() -> list[str]:
    """URLs that must not lead anywhere private, whatever a resolver makes of their host."""
    loopback = [
        "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0x0.0x0.0x1", "0177.0.0.1", "017700000001",
        "0", "0.0.0.0", "00.0.0.0", "127.000.000.001", "0x0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]",
        "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[::1%lo]", "[fd00:ec2::254]", "localhost",
        "LOCALHOST", "localhost.", "ip6-localhost", "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "１２７.0.0.1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
        "169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "[::ffff:a9fe:a9fe]", "metadata.google.internal",
        "100.100.100.200", "168.63.129.16", "10.0.0.1", "192.168.0.1", "172.31.255.255", "198.18.0.1", "255.255.255.255",
    ]  # fmt: skip
    shapes = [
        "http://{}/", "https://{}/", "http://{}:80/", "http://{}:6379/", "http://allowed.example@{}/", "http://{}#@allowed.example/",
        "http://{}?allowed.example",
    ]  # fmt: skip
    odd = [
        "http://allowed.example\\@127.0.0.1/", "http://127.0.0.1\t/", "http:///127.0.0.1/", "http:127.0.0.1", "//127.0.0.1/",
        "http://127.0.0.1\0.allowed.example/", "http://127.0.0.1%00.allowed.example/", "http://127.0.0.1%2eallowed.example/",
        "file:///etc/passwd", "gopher://127.0.0.1:6379/_", "ftp://127.0.0.1/", "data:text/plain,x", "jar:http://127.0.0.1!/",
        "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "ws://127.0.0.1/", "HTTP://[::1", "http://[]/",
        "http://a b/", "http://\r\nHost: x/", "http://allowed.example:99999/", "http://allowed.example:-1/", "http://.../", "http://-a-/",
        "http://" + "a" * 64 + ".example/", "http://" + "a." * 130 + "example/",
    ]  # fmt: skip
    return [shape.format(host) for host in loopback for shape in shapes] + odd


def test_n14_to_n20_a_corpus_of_urls_reaches_nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = corpus()
    assert len(urls) >= 300
    tried: list[str] = []

    def connect(_sock: object, address: tuple[str, int], _budget: Budget) -> None:
        tried.append(address[0])
        raise OSError("not in this test")

    monkeypatch.setattr("agents.sandbox.egress.connection._connect", connect)
    everything = fetcher(
        allowed_hosts=["allowed.example", "*.internal.example", "localhost", "127.0.0.1", "169.254.169.254"]
    )
    everything.resolver = lambda _h, _p, _b: [ipaddress.ip_address("127.0.0.1")]
    for url in urls:
        refusal(everything, url)
    assert tried == []


@pytest.mark.parametrize(
    "url", ["http://allowed.example/", "https://allowed.example:443/a?b#c", "HTTP://Allowed.Example."]
)
def test_ordinary_urls_are_read(url: str) -> None:
    assert Target.parse(url).host == "allowed.example"


def test_n30_the_window_slides() -> None:
    now = [0.0]
    limiter = LocalRateLimiter(clock=lambda: now[0])
    for _ in range(60):
        limiter.admit("a", 60)
    with pytest.raises(RateLimitError) as caught:
        limiter.admit("a", 60)
    assert caught.value.retry_after == pytest.approx(60)
    now[0] = 60.0
    limiter.admit("a", 60)
    limiter.admit("b", 1)
