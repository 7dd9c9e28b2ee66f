"""Connections that can only go to addresses that were checked, and that end when their time or their call ends."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from agents.sandbox.hosts import IPAddress

_SLICE = 0.2
_MAX_ANSWERS = 64


class StoppedError(Exception):
    """The time is up, or the call has ended."""


class EgressQuotaError(Exception):
    """The call has sent and received as much as it may."""


@dataclass
class Budget:
    """The time of a request (seconds on the monotonic clock), whether its call still lives, and the bytes moved.

    `most` bounds what it may send and receive, in bytes; None bounds nothing.
    """

    deadline: float
    ended: Callable[[], bool] = lambda: False
    sent: int = 0
    received: int = 0
    most: int | None = None

    def slice(self) -> float:
        """Seconds to wait at most before asking again.

        Raises:
            StoppedError: none are left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0 or self.ended():
            raise StoppedError
        return min(left, _SLICE)

    def moved(self, *, sent: int = 0, received: int = 0) -> None:
        """Count bytes that went over the network.

        Raises:
            EgressQuotaError: they are more than the call may move.
        """
        self.sent += sent
        self.received += received
        if self.most is not None and self.sent + self.received >= self.most:
            raise EgressQuotaError


Resolver = Callable[[str, int, Budget], "list[IPAddress]"]


def lookup(host: str, port: int, budget: Budget) -> list[IPAddress]:
    """All addresses of a host, from one look-up. getaddrinfo has no time-out, so it is left behind when time is up.

    Raises:
        StoppedError: no answer in time.
        OSError: there is no such host.
    """
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True, name="egress-lookup")
    thread.start()
    while thread.is_alive():
        thread.join(budget.slice())
    found = answers[0]
    if isinstance(found, Exception):
        raise OSError(f"there is no address for {host}")
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))[:_MAX_ANSWERS]


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to one of the addresses given, whatever name the HTTP library asks for."""

    def __init__(self, addresses: list[IPAddress], budget: Budget) -> None:
        self.addresses = addresses
        self.budget = budget

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 -- the name was used up when it was checked
        port: int,
        timeout: float | None = None,  # noqa: ARG002 -- the budget decides
        local_address: str | None = None,  # noqa: ARG002 -- never set
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 -- never set
    ) -> httpcore.NetworkStream:
        problem: OSError = OSError("there is no address")
        for address in self.addresses:
            family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004 -- IPv6
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                _connect(sock, (str(address), port), self.budget)
            except OSError as error:
                sock.close()
                problem = error
                continue
            except StoppedError:
                sock.close()
                raise
            return CheckedStream(sock, self.budget)
        raise problem


def _connect(sock: socket.socket, address: tuple[str, int], budget: Budget) -> None:
    deadline = min(budget.deadline, time.monotonic() + 10)
    budget.slice()
    sock.settimeout(max(0.01, deadline - time.monotonic()))
    sock.connect(address)


class CheckedStream(httpcore.NetworkStream):
    """A connection whose every wait is cut into slices, so that the total deadline holds against a slow drip."""

    def __init__(self, sock: socket.socket, budget: Budget) -> None:
        self.sock = sock
        self.budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 -- the budget decides
        while True:
            self.sock.settimeout(self.budget.slice())
            try:
                data = self.sock.recv(max_bytes)
            except TimeoutError:
                continue
            self.budget.moved(received=len(data))
            return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 -- the budget decides
        view = memoryview(buffer)
        while view:
            self.sock.settimeout(self.budget.slice())
            try:
                count = self.sock.send(view)
            except TimeoutError:
                continue
            self.budget.moved(sent=count)
            view = view[count:]

    def close(self) -> None:
        self.sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 -- the budget decides
    ) -> httpcore.NetworkStream:
        self.budget.slice()
        self.sock.settimeout(max(0.01, self.budget.deadline - time.monotonic()))
        try:
            self.sock = ssl_context.wrap_socket(self.sock, server_hostname=server_hostname)
        except TimeoutError:
            raise StoppedError from None
        return self

    def get_extra_info(self, info: str) -> Any:  # noqa: ARG002 -- nothing is told
        return None
