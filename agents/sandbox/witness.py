"""What the inside can tell about attempts: a Python audit hook that notes what the locks below will refuse.

Evidence, not a boundary: code that tampers with the interpreter can keep quiet; the kernel refuses it all the same.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents.sandbox.outcome import AttackClass, Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_NOTES = 20
KEPT_NOTES = 5
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
# Functions of `os` for which CPython raises no audit event.
_UNHEARD: dict[str, AttackClass] = {
    "memfd_create": AttackClass.PROCESS,
    "mkfifo": AttackClass.FILESYSTEM,
    "mknod": AttackClass.FILESYSTEM,
    "pidfd_open": AttackClass.PROCESS,
    "sched_setaffinity": AttackClass.RESOURCES,
    "sched_setscheduler": AttackClass.RESOURCES,
    "setpriority": AttackClass.RESOURCES,
    "setgid": AttackClass.PROCESS,
    "setns": AttackClass.PROCESS,
    "setuid": AttackClass.PROCESS,
    "unshare": AttackClass.PROCESS,
}
_GRAVE = frozenset({AttackClass.NETWORK, AttackClass.PROCESS})
_PATH_EVENTS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
)


@dataclass
class Report:
    """Attempts seen so far, at most `MAX_NOTES`. Notes nothing before `watch` and after `rest`."""

    seen: list[Attempt] = field(default_factory=list)
    inside: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    hooked: bool = False
    watching: bool = False

    def watch(self, folders: Sequence[str]) -> None:
        """Start noting, afresh; `folders` are those that the call may use."""
        if not self.hooked:
            sys.addaudithook(self.hear)
            _give_events_to_unheard()
            self.hooked = True
            python = (p for p in (sys.prefix, sys.base_prefix, *sys.path) if p)
            self.harmless = (*python, "/usr/", "/lib/", "/lib64/", "/dev/null", "/dev/urandom", "/dev/zero")
        self.watching = True
        self.seen.clear()
        self.inside = (*(f.rstrip("/") for f in folders if f), *self.harmless)

    def rest(self) -> None:
        """Note nothing until the next `watch`: the zygote, which has gone through a rehearsal, hears its own work."""
        self.watching = False
        self.seen.clear()

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """The audit hook."""
        if not self.watching:
            return
        kind = _EVENTS.get(event) or _UNHEARD.get(event.removeprefix("os."))
        if kind is not None:
            self._note(kind, f"{event} {args!r:.150}", grave=is_grave(kind, event, args))
        elif event in _PATH_EVENTS:
            for path in args[: 2 if event == "os.rename" else 1]:
                if isinstance(path, str | bytes) and not self._is_inside(os.fsdecode(path)):
                    self._note(AttackClass.FILESYSTEM, f"{event} {os.fsdecode(path)}")

    def _is_inside(self, path: str) -> bool:
        """Whether a path leads into the folders of the call, links followed, or to Python's own files.

        A relative path that does not go up counts as inside: it may be one component below an open folder.
        """
        if ".." not in path and (not path.startswith("/") or path.startswith(self.harmless)):
            return True
        try:
            place = os.path.realpath(path)
        except (OSError, ValueError):
            return True
        return place.startswith(self.inside)

    def _note(self, kind: AttackClass, detail: str, *, grave: bool = False) -> None:
        """The last places are kept for what is grave, so that it can't be drowned by what is not."""
        if len(self.seen) < (MAX_NOTES if grave else MAX_NOTES - KEPT_NOTES):
            shown = detail.encode("ascii", "backslashreplace").decode()[:MAX_DETAIL]
            self.seen.append(Attempt(kind, shown, grave))


def _give_events_to_unheard() -> None:
    """Have the functions in `_UNHEARD` raise audit events too."""
    for name in _UNHEARD:
        function = getattr(os, name, None)
        if function is not None:
            setattr(os, name, _heard(f"os.{name}", function))


def _heard(event: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def heard(*args: Any, **keywords: Any) -> Any:
        sys.audit(event, *args)
        return function(*args, **keywords)

    return heard


def is_grave(kind: AttackClass, event: str, args: tuple[Any, ...]) -> bool:
    """Whether only code that tries to get out does this. An event loop makes a pair of local sockets for itself."""
    if event == "socket.__new__":
        return len(args) > 1 and args[1] != socket.AF_UNIX
    return kind in _GRAVE


report = Report()
