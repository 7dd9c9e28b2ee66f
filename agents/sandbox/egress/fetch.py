"""One request from a tool to the network: every decision is taken here, before a packet leaves.

The name is checked against the rules, looked up once, and every answer must be an address that may be reached; then
the connection goes to one of exactly those addresses, never to a name. Redirects start again from the beginning.

Note [Elsewhere]: policy judges, and a person approves, a request to the host that the call names. What that host
answers can't widen it: a redirect to another one is handed to the tool as it came, for whoever wants it to ask for it.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

import certifi
import httpcore

from agents.sandbox.egress.connection import CheckedBackend, EgressQuotaError, StoppedError, lookup
from agents.sandbox.egress.rate import RateLimitError, RateUnavailableError
from agents.sandbox.hosts import HostError, literal_address, normalised
from agents.sandbox.outcome import FailureKind
from approvals import addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agents.sandbox.egress.connection import Budget, Resolver
    from agents.sandbox.egress.rate import RateLimiter
    from agents.sandbox.hosts import HostRules, IPAddress
    from agents.sandbox.policy import NetworkSandbox

Headers = list[tuple[str, str]]
KB = 1024
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
# Set by the broker itself, so a tool's own value is dropped; `host` is compared first.
_OURS = frozenset({"host", "content-length", "accept-encoding", "connection"})
_REFUSED = frozenset({"transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect", "http2-settings"})
# What follows a redirect to another origin; everything else may be a credential.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent", "content-type"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TO_GET = frozenset({301, 302, 303})
_KEPT_PORTS = {"http": 80, "https": 443}
_MAX_HEADERS = 100
_MAX_HEADER_BYTES = 32 * KB


class RefusedError(Exception):
    """The request, or its answer, is not allowed. `kind` is what the tool is told."""

    def __init__(
        self, message: str, kind: FailureKind = FailureKind.NETWORK_REFUSED, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after


@dataclass(frozen=True)
class Target:
    """A URL that has been read: scheme, normalised host, port, and the path with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Read a URL strictly.

        Raises:
            RefusedError: not http(s), credentials in it, no host, a host or port that can't be read in one way only.
        """
        if not url.isascii() or any(c <= " " or c == "\\" for c in url):
            raise RefusedError("The address holds characters that an address can't hold.")
        try:
            parts: SplitResult = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise RefusedError("The address can't be read.") from None
        if port == 0:
            raise RefusedError("Port 0 can't be used.")
        if parts.scheme not in _KEPT_PORTS:
            raise RefusedError(f"Only http and https can be used, not {parts.scheme!a}.")
        if "@" in parts.netloc:
            raise RefusedError("An address can't hold a user name or password.")
        try:
            name = normalised(host or "")
        except HostError as error:
            raise RefusedError(str(error)) from None
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        return cls(parts.scheme, name, port or _KEPT_PORTS[parts.scheme], path)

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def is_elsewhere(self, before: Target) -> bool:
        """Whether a redirect to here leaves the host and port of `before`; the same host by https is no other place."""
        usual = before.port == _KEPT_PORTS[before.scheme] and self.port == _KEPT_PORTS[self.scheme]
        return self.host != before.host or not (usual or self.port == before.port)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _KEPT_PORTS[self.scheme] else f"{host}:{self.port}"

    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True)
class Answer:
    """What came back, decoded. `url` is where it came from."""

    status: int
    headers: Headers
    body: bytes
    url: str


@dataclass
class Fetcher:
    """Sends requests under one agent's policy. `key` names whose rate limit they count against."""

    policy: NetworkSandbox
    key: str
    limiter: RateLimiter
    tls: ssl.SSLContext
    resolver: Resolver = lookup
    on_refusal: Callable[[str], None] = lambda _detail: None
    rules: HostRules = field(init=False)

    def __post_init__(self) -> None:
        self.rules = self.policy.rules()

    def fetch(self, method: str, url: str, headers: Headers, body: bytes, budget: Budget) -> Answer:
        """Send a request and follow its redirects within its host, within the time and bytes of `budget`.

        A redirect to another host that may be reached is the answer (see Note [Elsewhere]).

        Raises:
            RefusedError: the policy, or a limit, does not allow it; or it failed. Nothing else is raised.
        """
        try:
            return self._follow(method, url, headers, body, budget)
        except RefusedError as error:
            if error.kind is FailureKind.NETWORK_REFUSED:
                self.on_refusal(str(error))
            raise
        except EgressQuotaError:
            message = "The call has sent and received as much as one call may, so the request was broken off."
            self.on_refusal(message)
            raise RefusedError(message, FailureKind.RESOURCES) from None
        except (StoppedError, httpcore.TimeoutException):
            message = "The other side did not answer completely in the time allowed."
            raise RefusedError(message, FailureKind.NETWORK_ERROR) from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "TLS failed"
            raise RefusedError(
                f"The other side's identity could not be verified: {reason}.", FailureKind.NETWORK_ERROR
            ) from None
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise RefusedError(f"The request failed: {error}", FailureKind.NETWORK_ERROR) from None

    def _follow(self, method: str, url: str, headers: Headers, body: bytes, budget: Budget) -> Answer:
        if method not in METHODS:
            raise RefusedError(f"The method {method!a} can't be used.")
        if len(body) > self.policy.max_request_kb * KB:
            raise RefusedError(f"The request's body is larger than {self.policy.max_request_kb} KB.")
        target = Target.parse(url)
        sent = checked_headers(headers, target)
        budget.moved()
        for _ in range(self.policy.max_redirects + 1):
            answer = self._send(method, target, sent, body, budget)
            location = next((v for k, v in answer.headers if k.lower() == "location"), None)
            if answer.status not in _REDIRECTS or location is None:
                return answer
            before, target = target, Target.parse(urljoin(target.url(), location))
            if before.scheme == "https" and target.scheme == "http":
                raise RefusedError("A redirect leads from https to http.")
            if problem := self.rules.refusal(target.host, target.port):
                raise RefusedError(problem)
            if target.is_elsewhere(before):
                return answer
            if before.origin != target.origin:
                sent = [(k, v) for k, v in sent if k.lower() in _HARMLESS]
            if answer.status in _TO_GET and method not in ("GET", "HEAD"):
                method, body = "GET", b""
        raise RefusedError(f"There were more than {self.policy.max_redirects} redirects.", FailureKind.NETWORK_ERROR)

    def _send(self, method: str, target: Target, headers: Headers, body: bytes, budget: Budget) -> Answer:
        if problem := self.rules.refusal(target.host, target.port):
            raise RefusedError(problem)
        self._count()
        checked = self._checked_addresses(target, budget)
        fields = [("Host", target.authority), *headers, ("Accept-Encoding", "gzip")]
        if body or method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", str(len(body))))
        backend = CheckedBackend(checked, budget)
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        with (
            httpcore.ConnectionPool(ssl_context=self.tls, network_backend=backend, max_connections=1) as pool,
            pool.stream(method, url, headers=fields, content=body or None) as response,
        ):
            raw = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in response.headers]
            content = self._body(response.iter_stream(), raw) if method != "HEAD" else b""
            kept = [
                (k, v) for k, v in raw if k.lower() not in ("content-encoding", "content-length", "transfer-encoding")
            ]
            return Answer(response.status, kept, content, target.url())

    def _count(self) -> None:
        try:
            self.limiter.admit(self.key, self.policy.rate_limit.requests_per_minute)
        except RateLimitError as error:
            raise RefusedError(str(error), FailureKind.NETWORK_RATE_LIMITED, error.retry_after) from None
        except RateUnavailableError as error:
            raise RefusedError(str(error), FailureKind.NETWORK_ERROR) from None

    def _checked_addresses(self, target: Target, budget: Budget) -> list[IPAddress]:
        literal = literal_address(target.host)
        found = [literal] if literal is not None else self.resolver(target.host, target.port, budget)
        if not found:
            raise RefusedError(f"There is no address for {target.host}.", FailureKind.NETWORK_ERROR)
        for address in found:
            if self.rules.blocks(str(address), target.port):
                raise RefusedError(f"{target.host} was not contacted: {address} is blocked for this agent.")
            problem = addresses.refusal(address)
            if problem and not self.rules.permits_private(target.host, target.port, address):
                raise RefusedError(f"{target.host} was not contacted: {problem}.")
        return found

    def _body(self, chunks: Iterable[bytes], headers: Headers) -> bytes:
        limit = self.policy.max_response_kb * KB
        encodings = [e.strip().lower() for k, v in headers if k.lower() == "content-encoding" for e in v.split(",")]
        encodings = [e for e in encodings if e not in ("", "identity")]
        pieces: Iterable[bytes] = _bounded(chunks, limit, self.policy.max_response_kb)
        if encodings in (["gzip"], ["x-gzip"], ["deflate"]):
            pieces = _bounded(_inflated(pieces, limit), limit, self.policy.max_response_kb)
        elif encodings:
            raise RefusedError(
                f"The answer is encoded as {encodings!a}, which was not asked for.", FailureKind.NETWORK_ERROR
            )
        return b"".join(pieces)


def _bounded(chunks: Iterable[bytes], limit: int, shown_kb: int) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise RefusedError(f"The answer is larger than {shown_kb} KB.", FailureKind.RESULT_TOO_LARGE)
        yield chunk


def _inflated(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Decode gzip or zlib data piece by piece, so that a bomb is noticed after `limit` bytes and not at the end."""
    decoder = zlib.decompressobj(wbits=47)
    for chunk in chunks:
        rest = chunk
        while rest:
            try:
                yield decoder.decompress(rest, limit + 1)
            except zlib.error:
                raise RefusedError("The answer's encoding is broken.", FailureKind.NETWORK_ERROR) from None
            rest = decoder.unconsumed_tail


def checked_headers(headers: Headers, target: Target) -> Headers:
    """A tool's own header fields, without those that the broker sets.

    Raises:
        RefusedError: a field that is malformed, another host's name, or that would change how the message is framed.
    """
    if len(headers) > _MAX_HEADERS or sum(len(k) + len(v) for k, v in headers) > _MAX_HEADER_BYTES:
        raise RefusedError("The header fields are too many or too long.")
    for name, value in headers:
        lower = name.lower()
        if not _TOKEN.match(name) or not _VALUE.match(value):
            raise RefusedError(f"The header field {name!a} is not valid.")
        if lower in _REFUSED or lower.startswith("proxy-"):
            raise RefusedError(f"The header field {name} can't be set.")
        if lower == "host" and value.lower() not in (target.authority, target.host, f"{target.host}:{target.port}"):
            raise RefusedError("The Host field must be the address's own host.")
    return [(k, v) for k, v in headers if k.lower() not in _OURS]


def tls_context(extra_ca_file: str = "") -> ssl.SSLContext:
    """Certificates and names are verified, TLS 1.2 or newer; a tool has no way to change it."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if extra_ca_file:
        with contextlib.suppress(FileNotFoundError):
            context.load_verify_locations(extra_ca_file)
    return context
