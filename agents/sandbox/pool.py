"""The worker's side of the zygote: starting it, taking standby children from it, and learning how they ended.

One zygote a worker process. A process forked from the worker (Celery prefork) drops what it inherited and starts its
own on first use. Threads share it: each takes a whole message, with its descriptors, from a SOCK_SEQPACKET socket.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from agents.sandbox import framing, launch, syscalls
from agents.sandbox.errors import ProtocolError, SandboxUnavailableError
from agents.sandbox.zygote import OPEN, SEALED

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)
STANDBYS = {OPEN: 2, SEALED: 2}
START_TIMEOUT = 30.0
TAKE_TIMEOUT = 10.0
_DESCRIPTORS = 3  # that come with a standby child
_BOOT = launch.BOOT + "from agents.sandbox.zygote import main; main(*map(int, sys.argv[2:]))"


@dataclass
class Standby:
    """A child that waits for its one call: its channel, its end towards the egress broker, and a handle to kill it."""

    pid: int
    channel: socket.socket
    egress: socket.socket
    pidfd: int
    pool: Pool
    closed: bool = False
    killed: bool = False

    def kill(self) -> None:
        """SIGKILL; the handle can't hit another process even when the id is used again."""
        if self.killed:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.killed = True

    def living(self) -> bool:
        """Whether its id is still its own: limits must not hit another process."""
        try:
            signal.pidfd_send_signal(self.pidfd, 0)
        except ProcessLookupError:
            return False
        return True

    def ended(self, timeout: float) -> bool:
        """Whether the child is gone, waiting at most `timeout` seconds."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(int(timeout * 1000)))

    def close(self) -> None:
        """Kill it, let go of it, and have its place filled: now, because before it would have slowed this call."""
        if self.closed:
            return
        self.closed = True
        self.kill()
        self.channel.close()
        self.egress.close()
        os.close(self.pidfd)
        self.pool.restock()


@dataclass
class Pool:
    """One running zygote."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    pools: dict[str, socket.socket]
    address_space: int
    failed: dict[str, str]
    preloaded: frozenset[str]
    namespaces: bool
    lock: threading.Lock = field(default_factory=threading.Lock)
    stock: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STANDBYS, 0))
    stock_lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def start(cls, *, namespaces: bool, preload: Sequence[str]) -> Pool:
        """Start a zygote and wait until it is ready.

        Raises:
            SandboxUnavailableError: it did not come up; its own error is on stderr.
        """
        try:
            pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
        except OSError as error:
            raise SandboxUnavailableError.at("The sandbox could not be started", error) from None
        control, opened, sealed = (pair[0] for pair in pairs)
        config = {"namespaces": namespaces, "preload": list(preload), "worker": os.getpid()}
        try:
            process = _zygote([pair[1] for pair in pairs])
            hello = _greeted(process, control, config)
        except SandboxUnavailableError:
            for ours, _ in pairs:
                ours.close()
            raise
        for module, problem in hello["failed"].items():
            logger.warning("sandbox: %s could not be imported ahead of time: %s", module, problem)
        ready = frozenset(preload) - hello["failed"].keys()
        pools = {OPEN: opened, SEALED: sealed}
        pool = cls(process, control, pools, hello["address_space"], hello["failed"], ready, namespaces)
        pool.restock()
        return pool

    def restock(self) -> None:
        """Order standby children until as many wait, or are on their way, as should."""
        with contextlib.suppress(OSError), self.stock_lock:
            for kind, wanted in STANDBYS.items():
                self._order(kind, wanted)

    def _order(self, kind: str, wanted: int) -> None:
        missing = wanted - self.stock[kind]
        if missing > 0:
            self.control.send(orjson.dumps({"more": kind, "count": missing}))
            self.stock[kind] = wanted

    def _reserve(self, kind: str) -> None:
        """Claim one standby child; ordered only if none is left."""
        with self.stock_lock:
            self._order(kind, 1)
            self.stock[kind] -= 1

    def take(self, kind: str) -> Standby:
        """A standby child.

        Raises:
            SandboxUnavailableError: the zygote is gone or does not answer, or this process has no descriptors left.
        """
        source = self.pools[kind]
        source.settimeout(TAKE_TIMEOUT)
        try:
            self._reserve(kind)
            message, fds, _, _ = socket.recv_fds(source, framing.CONTROL_LIMIT, _DESCRIPTORS)
        except OSError as error:
            raise SandboxUnavailableError(f"The sandbox did not answer: {error}") from None
        if not message:
            raise SandboxUnavailableError("The sandbox's zygote is gone.")
        if len(fds) < _DESCRIPTORS:
            # The kernel drops those for which there is no room. Without its channel the child ends by itself.
            for fd in fds:
                os.close(fd)
            raise SandboxUnavailableError("The sandbox's process could not be taken over; nothing was run.")
        channel, egress, pidfd = fds
        pid = framing.decode(message)["pid"]
        return Standby(pid, socket.socket(fileno=channel), socket.socket(fileno=egress), pidfd, self)

    def obituary(self, pid: int) -> dict[str, Any]:
        """How a child ended: `code` as in `waitstatus_to_exitcode`, `cpu` seconds, `peak` bytes; empty if unknown."""
        with self.lock:
            try:
                self.control.send(orjson.dumps({"status": pid}))
                while True:
                    end = framing.decode(self.control.recv(framing.CONTROL_LIMIT))
                    if end["pid"] == pid:
                        return end
            except (OSError, ProtocolError):
                return {}

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End the zygote and with it every child."""
        self.control.close()
        for source in self.pools.values():
            source.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def disown(self) -> None:
        """In a forked process: close the inherited ends, leave the zygote to the process that started it."""
        self.control.close()
        for source in self.pools.values():
            source.close()
        self.process.returncode = 0


def _zygote(ends: Sequence[socket.socket]) -> subprocess.Popen[bytes]:
    """Start a zygote that holds these ends; they are closed here, whatever happens."""
    fds = [end.fileno() for end in ends]
    argv = [launch.python(), "-I", "-S", "-c", _BOOT, json.dumps(launch.code_path()), *map(str, fds)]
    try:
        return subprocess.Popen(  # noqa: S603 -- our own interpreter and code
            argv,
            env=launch.clean_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=fds,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxUnavailableError.at("The sandbox could not be started", error) from None
    finally:
        for end in ends:
            end.close()


def _greeted(process: subprocess.Popen[bytes], control: socket.socket, config: dict[str, Any]) -> dict[str, Any]:
    """Tell a zygote what it is to be; what it answers when it is ready. One that doesn't is killed."""
    try:
        control.settimeout(START_TIMEOUT)
        control.send(orjson.dumps(config))
        return framing.decode(control.recv(framing.CONTROL_LIMIT))
    except (OSError, ProtocolError) as error:
        process.kill()
        process.wait()
        raise SandboxUnavailableError(f"The sandbox did not start: {error}; nothing was run.") from None


def cpu_seconds(pid: int) -> float:
    """Processor seconds that a living process has used, from the kernel's own clock of it; 0 if it is gone."""
    if not syscalls.LINUX:
        return 0.0
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def thread_count(pid: int) -> int:
    """How many threads a living process has; 0 if it is gone."""
    fields = _told(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[17]) if fields else 0


def peak_memory(pid: int) -> int:
    """The largest resident size so far, in bytes, of a living process; 0 if it is gone."""
    _, found, rest = _told(f"/proc/{pid}/status").partition(b"VmHWM:")
    return int(rest.split(maxsplit=1)[0]) * 1024 if found else 0


def _told(path: str) -> bytes:
    """What the kernel tells under `path`, empty if that is gone; without file objects, because every call asks."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)
