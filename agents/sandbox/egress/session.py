"""The worker's side of the broker: start one if there is none, register a call with it, and collect what it used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from agents.sandbox import framing, launch
from agents.sandbox.errors import ProtocolError, SandboxUnavailableError
from agents.sandbox.outcome import AttackClass, Outcome, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.sandbox.plan import Plan

SOCKET_VARIABLE = "ROUTEKIT_EGRESS_SOCKET"
_PASSED_ON = ("REDIS_URL", "REDIS_URL_FILE", "ROUTEKIT_EGRESS_CA_FILE")
_REPORT_TIMEOUT = 2.0
_START_TIMEOUT = 10.0
_BOOT = (
    "import sys, json, socket; sys.path[:] = json.loads(sys.argv[1]); from agents.sandbox.egress import broker; "
    "broker.main(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))"
)


@dataclass
class EmbeddedBroker:
    """A broker of this worker's own, for machines that run none as a service."""

    process: subprocess.Popen[bytes]
    folder: str

    @property
    def path(self) -> str:
        return str(Path(self.folder, "egress.sock"))

    @classmethod
    def start(cls) -> EmbeddedBroker:
        folder = tempfile.mkdtemp(prefix="routekit-egress-")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with listener:
            listener.bind(str(Path(folder, "egress.sock")))
            listener.listen(128)
            argv = [launch.python(), "-I", "-S", "-c", _BOOT, json.dumps(launch.code_path())]
            passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and code
                [*argv, str(listener.fileno()), str(os.getpid())],
                env=launch.clean_environment(**passed),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        return cls(process, folder)

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class _Mine:
    """The embedded broker of this process, if one runs."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    broker: EmbeddedBroker | None = None

    def path(self) -> str:
        with self.lock:
            if self.broker is None or not self.broker.alive():
                if self.broker is not None:
                    self.broker.stop()
                self.broker = EmbeddedBroker.start()
            return self.broker.path

    def after_fork(self) -> None:
        if self.broker is not None:
            self.broker.process.returncode = 0
        self.lock = threading.Lock()
        self.broker = None


_mine = _Mine()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mine.after_fork)


def stop() -> None:
    """End this process's embedded broker, if there is one."""
    with _mine.lock:
        broker, _mine.broker = _mine.broker, None
    if broker is not None:
        broker.stop()


@dataclass
class Egress:
    """What a call's requests came to, known after it has ended."""

    connection: socket.socket | None
    plan: Plan
    tenant_id: int

    def added_to(self, outcome: Outcome) -> Outcome:
        """The outcome with the bytes and the violations that the broker counted."""
        if self.connection is None:
            return outcome
        report = self._report(self.connection)
        usage = replace(
            outcome.usage, bytes_sent=int(report.get("sent", 0)), bytes_received=int(report.get("received", 0))
        )
        refused = tuple(
            Violation(AttackClass.NETWORK, detail, self.tenant_id, self.plan.call.tool, self.plan.tier)
            for detail in report.get("violations", [])
        )
        return replace(outcome, usage=usage, violations=(*outcome.violations, *refused))

    def _report(self, connection: socket.socket) -> dict[str, Any]:
        try:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(_REPORT_TIMEOUT)
            return framing.decode(connection.recv(framing.CONTROL_LIMIT))
        except (OSError, ProtocolError):
            return {}


@contextlib.contextmanager
def opened(plan: Plan, tenant_id: int, end: socket.socket) -> Iterator[Egress]:
    """Give `end`, the counterpart of the child's descriptor, to the broker; or close it when there is no network.

    Raises:
        SandboxUnavailableError: the broker does not take it.
    """
    if plan.network is None:
        end.close()
        yield Egress(None, plan, tenant_id)
        return
    with _unconnected() as connection:
        _register(connection, plan, tenant_id, end)
        yield Egress(connection, plan, tenant_id)


def _unconnected() -> socket.socket:
    try:
        return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError as error:
        message = f"The egress broker needs a kind of socket that this system lacks, so nothing was sent: {error}"
        raise SandboxUnavailableError(message) from None


def _register(connection: socket.socket, plan: Plan, tenant_id: int, end: socket.socket) -> None:
    assert plan.network is not None  # noqa: S101 -- the caller has seen to it; for the type checker
    registration = {
        "policy": plan.network.model_dump(mode="json"),
        "rate_key": rate_key(tenant_id, plan.network.model_dump_json()),
        "egress_kb": plan.limits.max_egress_kb,
        "timeout": max(0.1, plan.limits.timeout - 0.1),
    }
    try:
        connection.settimeout(_START_TIMEOUT)
        _connect(connection, os.environ.get(SOCKET_VARIABLE) or _mine.path())
        socket.send_fds(connection, [orjson.dumps(registration)], [end.fileno()])
        answer = framing.decode(connection.recv(framing.CONTROL_LIMIT))
    except (OSError, ProtocolError) as error:
        raise SandboxUnavailableError(f"The egress broker does not answer, so nothing was sent: {error}") from None
    finally:
        end.close()
    if answer.get("ok") is not True:
        raise SandboxUnavailableError("The egress broker is busy, so nothing was sent.")


def _connect(connection: socket.socket, path: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            connection.connect(path)
        except (BlockingIOError, InterruptedError):
            if time.monotonic() > deadline:
                raise
        else:
            return


def rate_key(tenant_id: int, policy: str) -> str:
    """Whose requests are counted together: one tenant's, under one network policy."""
    return f"{tenant_id}:{hashlib.sha256(policy.encode()).hexdigest()[:16]}"
