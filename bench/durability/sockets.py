"""Feed latency: from the commit of one entry to each of n open sockets that has read it, through the web process.

Note [A light audience]: a thousand sockets of a WebSocket library cost 34 ms of CPU an entry, on the core that database
and broker need as well. Bare sockets behind one epoll cost 8: a moment is taken when `recvmsg` returns, and frames are
looked into when the last one has come. The kernel's own stamp of the same bytes is told beside it, as a second method.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from bench.durability.figures import PROJECT, percentile
from tests.fixtures.processes import Site
from tests.traces.wire import PING, PONG, Wire, frame, frames

EVENTS = 50
PAUSE = 0.2
OPENING_AT_ONCE = 25
# Threads that come back: as many as a process can keep waiting, so that the server is what is waited for.
RETURNING_AT_ONCE = 250
MISSED = 20
PATIENCE = 30.0
# asm/socket.h; Python has no name for it. The stamp is a `struct timespec`.
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")
_PING_BEGINS = bytes([0x80 | PING])


class Heard(NamedTuple):
    """What one socket read, when, and when the kernel had it."""

    data: bytes
    read: float
    arrived: float


class Audience:
    """Open sockets that one thread reads."""

    def __init__(self, wires: Sequence[Wire]) -> None:
        self._sockets = {wire.socket.fileno(): wire.socket for wire in wires}
        self._ready = select.epoll()
        for number, each in self._sockets.items():
            each.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._ready.register(number, select.EPOLLIN)

    def next_entries(self) -> list[Heard]:
        """What each socket read when an entry came to it."""
        found: dict[int, Heard] = {}
        while len(found) < len(self._sockets):
            now = self._read(PATIENCE)
            found.update({number: heard for number, heard in now if b'"type":"entry"' in heard.data})
        return list(found.values())

    def rest(self, seconds: float) -> None:
        """Nothing is measured, and pings are answered."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                for _ in self._read(left):
                    pass

    def _read(self, patience: float) -> Iterator[tuple[int, Heard]]:
        ready = self._ready.poll(patience)
        if not ready:
            message = f"a socket heard nothing for {patience} s"
            raise TimeoutError(message)
        for number, _event in ready:
            data, notes, _flags, _address = self._sockets[number].recvmsg(65_536, socket.CMSG_SPACE(TIMESPEC.size))
            heard = Heard(data, time.time(), _stamp(notes))
            if not data:
                message = "the server hung up"
                raise ConnectionError(message)
            self._answer(number, data)
            yield number, heard

    def _answer(self, number: int, data: bytes) -> None:
        """Daphne lets a socket go that does not answer its pings."""
        if _PING_BEGINS in data:
            for opcode, payload in frames(data):
                if opcode == PING:
                    self._sockets[number].send(frame(PONG, payload))


def _stamp(notes: Sequence[tuple[int, int, bytes]]) -> float:
    seconds, nanoseconds = next(TIMESPEC.unpack(data) for _, kind, data in notes if kind == SO_TIMESTAMPNS)
    return float(seconds + nanoseconds / 1e9)


def _headers(site: Site) -> dict[str, str]:
    return {"Cookie": f"sessionid={site.sign_in('rita').cookies['sessionid']}"}


@contextlib.contextmanager
def _audience(site: Site, tenant: int, count: int) -> Iterator[Audience]:
    """Rita's sockets, each of them past its hello."""
    headers = _headers(site)
    wires = [Wire(site.url, f"/ws/feed/?tenant={tenant}", headers) for _ in range(count)]
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(OPENING_AT_ONCE) as pool:

        def hello(wire: Wire) -> None:
            opened.enter_context(wire)
            if b'"heartbeat":25}' not in wire.until(b'"heartbeat":25}'):
                message = f"a socket was not let in: {wire.heard!r}"
                raise ConnectionError(message)

        list(pool.map(hello, wires))
        yield Audience(wires)


@contextlib.contextmanager
def _announcer(site: Site, tenant: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that commits an entry when it is told to."""
    command = [sys.executable, "-m", "bench.durability.announcer", str(tenant)]
    environment = {**site.environment, "DJANGO_SETTINGS_MODULE": "routekit_site.settings"}
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.stdin.close()


def _announced(process: subprocess.Popen[bytes]) -> int:
    """Commit one entry; its number."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    return int(json.loads(process.stdout.readline())["number"])


def _entry(process: subprocess.Popen[bytes], audience: Audience) -> tuple[list[float], list[float]]:
    """One entry: how late each socket read it, and how late the kernel had it, milliseconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    heard = audience.next_entries()
    committed = json.loads(process.stdout.readline())
    number = f'"number":{committed["number"]},'.encode()
    if not all(number in each.data for each in heard):
        message = f"not every socket read entry {committed['number']}"
        raise AssertionError(message)
    return (
        [(each.read - committed["at"]) * 1000 for each in heard],
        [(each.arrived - committed["at"]) * 1000 for each in heard],
    )


def _cpu(site: Site) -> float:
    """CPU time of the web process so far, milliseconds."""
    figures = Path(f"/proc/{site.processes['web'].popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(figures[11]) + int(figures[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def latency(site: Site, tenant: int, count: int) -> dict[str, Any]:
    """p50 and p99 over all sockets and fifty entries, and the web process's CPU time an entry, milliseconds."""
    read: list[float] = []
    arrived: list[float] = []
    with _audience(site, tenant, count) as audience, _announcer(site, tenant) as process:
        before = _cpu(site)
        for _ in range(EVENTS):
            audience.rest(PAUSE)
            one, other = _entry(process, audience)
            read += one
            arrived += other
        cpu = (_cpu(site) - before) / EVENTS
    told = {"sockets": count, "p50_ms": percentile(read, 50), "p99_ms": percentile(read, 99)}
    kernel = {"kernel_p50_ms": percentile(arrived, 50), "kernel_p99_ms": percentile(arrived, 99)}
    return {**told, **kernel, "web_cpu_ms": cpu}


def reconnection(site: Site, tenant: int, count: int) -> dict[str, Any]:
    """All sockets drop, miss twenty entries and come back at one moment: seconds until each has read the last of them.

    No browser waits first, as the site's own script would. Connections are opened by 250 threads of this process.
    """
    headers = _headers(site)
    with _announcer(site, tenant) as process:
        with _audience(site, tenant, count):
            first = _announced(process)
        for _ in range(MISSED):
            last = _announced(process)
        begun = time.monotonic()

        def come_back(_socket: int) -> float:
            with Wire(site.url, f"/ws/feed/?tenant={tenant}&after={first}", headers) as wire:
                end = f'{{"type":"entry","number":{last},'.encode()
                if end not in wire.until(end):
                    message = f"a socket that came back did not hear of entry {last}: {wire.heard[-200:]!r}"
                    raise ConnectionError(message)
                return time.monotonic() - begun

        with ThreadPoolExecutor(RETURNING_AT_ONCE) as pool:
            took = list(pool.map(come_back, range(count)))
    return {"sockets": count, "missed": MISSED, "p50_s": percentile(took, 50), "p99_s": percentile(took, 99)}
