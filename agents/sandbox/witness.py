"""What the inside can tell about attempts: a Python audit hook that notes what the locks below will refuse.

Evidence, not a boundary: code that tampers with the interpreter can keep quiet; the kernel refuses it all the same.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents.sandbox.outcome import AttackClass

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NOTES = 20
MAX_DETAIL = 200
_EVENTS: dict[str, AttackClass] = {
    "ctypes.dlopen": AttackClass.MEMORY,
    "ctypes.dlsym": AttackClass.MEMORY,
    "os.chmod": AttackClass.FILESYSTEM,
    "os.chown": AttackClass.FILESYSTEM,
    "os.exec": AttackClass.PROCESS,
    "os.fork": AttackClass.PROCESS,
    "os.forkpty": AttackClass.PROCESS,
    "os.kill": AttackClass.PROCESS,
    "os.killpg": AttackClass.PROCESS,
    "os.link": AttackClass.FILESYSTEM,
    "os.posix_spawn": AttackClass.PROCESS,
    "os.removexattr": AttackClass.FILESYSTEM,
    "os.setxattr": AttackClass.FILESYSTEM,
    "os.symlink": AttackClass.FILESYSTEM,
    "os.system": AttackClass.PROCESS,
    "os.utime": AttackClass.FILESYSTEM,
    "pty.spawn": AttackClass.PROCESS,
    "resource.prlimit": AttackClass.RESOURCES,
    "resource.setrlimit": AttackClass.RESOURCES,
    "signal.pthread_kill": AttackClass.PROCESS,
    "socket.__new__": AttackClass.NETWORK,
    "socket.bind": AttackClass.NETWORK,
    "socket.connect": AttackClass.NETWORK,
    "socket.getaddrinfo": AttackClass.NETWORK,
    "socket.gethostbyname": AttackClass.NETWORK,
    "subprocess.Popen": AttackClass.PROCESS,
}
_PATH_EVENTS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
)


@dataclass
class Report:
    """Attempts seen so far, at most `MAX_NOTES`. Notes nothing before `watch`."""

    seen: list[tuple[AttackClass, str]] = field(default_factory=list)
    inside: tuple[str, ...] = ()
    hooked: bool = False
    _python: tuple[str, ...] = ()

    def watch(self, folders: Sequence[str]) -> None:
        """Start noting, afresh; `folders` are those that the call may use."""
        if not self.hooked:
            sys.addaudithook(self.hear)
            self.hooked = True
            self._python = tuple(p for p in (sys.prefix, sys.base_prefix, *sys.path) if p)
        self.seen.clear()
        self.inside = (
            *(f.rstrip("/") for f in folders if f),
            *self._python,
            "/usr",
            "/lib",
            "/dev/null",
            "/dev/urandom",
        )

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """The audit hook."""
        kind = _EVENTS.get(event)
        if kind is not None:
            self._note(kind, f"{event} {args!r:.150}")
        elif event in _PATH_EVENTS and args and isinstance(args[0], str | bytes):
            path = os.fsdecode(args[0])
            if path.startswith("/") and not path.startswith(self.inside):
                self._note(AttackClass.FILESYSTEM, f"{event} {path}")

    def _note(self, kind: AttackClass, detail: str) -> None:
        if len(self.seen) < MAX_NOTES:
            self.seen.append((kind, detail.encode("ascii", "backslashreplace").decode()[:MAX_DETAIL]))


report = Report()
