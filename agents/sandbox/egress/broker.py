"""The broker process: hands out nothing, and sends only what a call's policy allows.

A worker connects to the broker's unix socket and sends a registration: the call's network policy and one end of a
socket pair, whose other end is the only descriptor that the tool's process has. That descriptor is the capability; what
comes through it is judged by the policy that came with it, from the worker, never from the tool.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from agents.sandbox import framing
from agents.sandbox.egress.connection import Budget
from agents.sandbox.egress.fetch import Fetcher, RefusedError, tls_context
from agents.sandbox.egress.rate import limiter
from agents.sandbox.errors import ProtocolError
from agents.sandbox.outcome import FailureKind
from agents.sandbox.policy import NetworkSandbox

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from agents.sandbox.egress.rate import RateLimiter

logger = logging.getLogger("agents.sandbox.egress")
MAX_CALLS = 128
MAX_HEAD = 256 << 10
MAX_VIOLATIONS = 20
REGISTRATION_TIMEOUT = 5
_PEER = struct.Struct("3i")


@dataclass
class Broker:
    """Accepts registrations on `listener` and serves each call in a thread of its own."""

    listener: socket.socket
    limiter: RateLimiter
    tls: ssl.SSLContext
    places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MAX_CALLS))

    def serve(self, worker: int = 0) -> None:
        """Run until `worker` (a process id; 0 for none) ends, or a signal comes."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        gone = os.pidfd_open(worker) if worker else -1
        if worker:
            poll.register(gone, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if gone in ready:
                return
            connection, _ = self.listener.accept()
            threading.Thread(target=self._welcome, args=(connection,), daemon=True, name="egress-call").start()

    def _welcome(self, connection: socket.socket) -> None:
        with connection:
            if not trusted_peer(connection):
                logger.warning("egress: a process of another user was turned away")
                return
            connection.settimeout(REGISTRATION_TIMEOUT)
            try:
                message, fds, _, _ = socket.recv_fds(connection, framing.CONTROL_LIMIT, 4)
                registration = framing.decode(message)
                policy = NetworkSandbox.model_validate(registration["policy"])
            except (OSError, ProtocolError, ValidationError, KeyError):
                logger.warning("egress: a registration could not be read")
                return
            with contextlib.ExitStack() as stack:
                for fd in fds:
                    stack.callback(os.close, fd)
                if len(fds) != 1 or not self.places.acquire(blocking=False):
                    connection.send(orjson.dumps({"ok": False}))
                    return
                stack.callback(self.places.release)
                connection.send(orjson.dumps({"ok": True}))
                Serving(self, connection, fds[0], policy, registration).run()


@dataclass
class Serving:
    """One call's requests, from registration until the worker says that the call has ended."""

    broker: Broker
    connection: socket.socket
    capability: int
    policy: NetworkSandbox
    registration: dict[str, Any]
    violations: list[str] = field(default_factory=list)
    sent: int = 0
    received: int = 0

    def run(self) -> None:
        fetcher = Fetcher(
            self.policy,
            self.registration["rate_key"],
            self.broker.limiter,
            self.broker.tls,
            on_refusal=self._note,
        )
        deadline = time.monotonic() + self.registration["timeout"]
        with contextlib.suppress(EOFError, OSError, ProtocolError):
            while self._next_request(deadline):
                self._handle(fetcher, deadline)
        report = {"sent": self.sent, "received": self.received, "violations": self.violations}
        with contextlib.suppress(OSError):
            self.connection.send(orjson.dumps(report))

    def _next_request(self, deadline: float) -> bool:
        """Wait for the tool, or for the worker's word that the call has ended."""
        poll = select.poll()
        poll.register(self.capability, select.POLLIN)
        poll.register(self.connection, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(max(0, int((deadline - time.monotonic() + 5) * 1000)))}
        return self.capability in ready and self.connection.fileno() not in ready

    def _ended(self) -> bool:
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))

    def _handle(self, fetcher: Fetcher, deadline: float) -> None:
        left = self.registration["egress_kb"] * 1024 - self.sent - self.received
        budget = Budget(deadline, self._ended, most=left)
        try:
            request = framing.read_message(self.capability, MAX_HEAD)
            body = framing.read_bytes(self.capability, self.policy.max_request_kb * 1024)
            headers = [(str(k), str(v)) for k, v in request["headers"]]
            answer = fetcher.fetch(str(request["method"]), str(request["url"]), headers, body, budget)
            head: dict[str, Any] = {"status": answer.status, "headers": answer.headers, "url": answer.url}
            content = answer.body
        except RefusedError as error:
            head = {"error": str(error.kind), "message": str(error), "retry_after": error.retry_after}
            content = b""
        except framing.MessageTooLargeError:
            self._refuse_for_good(f"The request is larger than {self.policy.max_request_kb} KB.")
            raise
        except (KeyError, TypeError, ValueError):
            self._refuse_for_good("The request could not be read.")
            raise ProtocolError from None
        finally:
            self.sent += budget.sent
            self.received += budget.received
        framing.write_fd(self.capability, framing.encode(head) + framing.pack(content))

    def _refuse_for_good(self, message: str) -> None:
        self._note(message)
        head = {"error": str(FailureKind.NETWORK_REFUSED), "message": message}
        framing.write_fd(self.capability, framing.encode(head) + framing.pack(b""))

    def _note(self, detail: str) -> None:
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(detail[:300])


def trusted_peer(connection: socket.socket) -> bool:
    """Whether the process at the other end belongs to this user, or to root."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(raw)
    return uid in (os.getuid(), 0)


def listen(path: str) -> socket.socket:
    """A unix socket at `path` that only this user can connect to; a socket left there by an earlier broker goes."""
    place = Path(path)
    if place.is_socket():
        place.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(MAX_CALLS)
    return listener


def redis_url(environment: Mapping[str, str]) -> str:
    """REDIS_URL, or what the file of REDIS_URL_FILE holds, as the site takes it; empty where there is neither."""
    path = environment.get("REDIS_URL_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else environment.get("REDIS_URL", "")


def main(listener: socket.socket, worker: int = 0) -> None:
    """Run a broker. Reads REDIS_URL or its file (shared rate limits) and ROUTEKIT_EGRESS_CA_FILE (a further CA)."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tls = tls_context(os.environ.get("ROUTEKIT_EGRESS_CA_FILE", ""))
    Broker(listener, limiter(redis_url(os.environ)), tls).serve(worker)
    if worker:
        shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
