"""Named places at which the fault tests break a process. Without `ROUTEKIT_TEST_FAULTS` each of them does nothing.

The variable names a folder. A file in it that is named after a point holds `n:action`: the process that comes to the
point for the n-th time since takes the file away and does it. Actions: `kill9`, `raise`, `sleep=SECONDS`, `drop_conn`
(cuts the connection to the database under whoever uses it), `memory` (takes all that the process may have, which from
then on is little). Each file is one fault in one process.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from collections import Counter
from functools import partial
from pathlib import Path

from django.db import connection, transaction

_FOLDER = os.environ.get("ROUTEKIT_TEST_FAULTS", "")
_met: Counter[tuple[str, int]] = Counter()
# Bytes that a process may still have when its memory is about to run out, and how they are taken.
_LEFT, _PIECE = 8 * 1024 * 1024, 64 * 1024


class InjectedFault(Exception):
    """The fault tests asked for this error."""


def point(name: str) -> None:
    """Break here, where a test has armed this name."""
    if _FOLDER:
        _meet(Path(_FOLDER, name))


def after_commit(name: str) -> None:
    """As `point`, just after the open transaction has committed and before whatever waits for that."""
    if _FOLDER:
        transaction.on_commit(partial(point, name))


def _meet(armed: Path) -> None:
    try:
        count, _, action = armed.read_text(encoding="utf-8").strip().partition(":")
        since = armed.stat().st_mtime_ns
    except OSError:
        return
    _met[armed.name, since] += 1
    if not action or _met[armed.name, since] < int(count):
        return
    try:
        armed.rename(armed.with_suffix(f".taken-{os.getpid()}-{time.monotonic_ns()}"))
    except OSError:
        return
    _break(action)


def _break(action: str) -> None:
    kind, _, value = action.partition("=")
    match kind:
        case "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(float(value))
        case "drop_conn":
            _drop_connection()
        case "memory":
            _exhaust_memory()
        case _:
            raise InjectedFault


def _drop_connection() -> None:
    if connection.connection is not None and connection.vendor == "postgresql":
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)


def _exhaust_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _LEFT, most))
    taken = []
    while True:
        taken.append(bytearray(_PIECE))
