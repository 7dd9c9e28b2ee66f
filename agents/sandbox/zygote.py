"""The zygote: a clean process, started by exec, that imports the tools once and forks single-use children.

It never saw the worker's memory or environment, so neither did its children: a locked child of the worker itself still
found SECRET_KEY through the garbage collector. It has one thread, and ends when the worker does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from agents.sandbox import child, framing, landlock, lockdown, namespaces, seccomp, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

OPEN, SEALED = "open", "sealed"
_KEPT_DEATHS = 4096


@dataclass
class Zygote:
    """The running zygote. `pools` are the sockets through which standby children are handed to the worker.

    `view` and `ruleset` are what all calls that touch no file have in common: their mount namespace (T2) and their
    Landlock rules. Each child still puts itself into a domain of its own, out of which it can't signal another one.
    """

    control: socket.socket
    pools: dict[str, socket.socket]
    runtime: lockdown.Runtime
    view: int
    ruleset: int
    deaths: dict[int, dict[str, Any]] = field(default_factory=dict)
    living: set[int] = field(default_factory=set)
    wanted: list[str] = field(default_factory=list)

    def run(self, worker: int, wakeup: int) -> None:
        """Serve until the worker closes its end or ends."""
        poll = select.poll()
        gone = os.pidfd_open(worker)
        for fd in (self.control.fileno(), gone, wakeup):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(0 if self.wanted else None)}
            if gone in ready:
                return
            if wakeup in ready:
                os.read(wakeup, 4096)
            self._reap()
            if self.control.fileno() in ready:
                request = self.control.recv(framing.CONTROL_LIMIT)
                if not request:
                    return
                self._obey(framing.decode(request))
            elif self.wanted:
                self._fork(self.wanted.pop(0))

    def _obey(self, request: dict[str, Any]) -> None:
        if "more" in request:
            self.wanted += [request["more"]] * request["count"]
        elif "status" in request:
            self.control.send(orjson.dumps({"pid": request["status"], **self._status(request["status"])}))

    def _status(self, pid: int) -> dict[str, Any]:
        """How a child ended, and what it used; waits for its end, which the worker has made sure of."""
        if pid in self.living:
            self._bury(pid, 0)
        return self.deaths.pop(pid, {})

    def _reap(self) -> None:
        while self.living and self._bury(-1, os.WNOHANG):
            continue

    def _bury(self, pid: int, options: int) -> bool:
        try:
            dead, status, usage = os.wait4(pid, options)
        except ChildProcessError:
            return False
        if dead == 0:
            return False
        self.living.discard(dead)
        cpu = usage.ru_utime + usage.ru_stime
        self.deaths[dead] = {"code": os.waitstatus_to_exitcode(status), "cpu": cpu, "peak": usage.ru_maxrss * 1024}
        while len(self.deaths) > _KEPT_DEATHS:
            self.deaths.pop(next(iter(self.deaths)))
        return True

    def _fork(self, kind: str) -> None:
        """Make one standby child and hand its sockets and pidfd to the worker."""
        ours, theirs = socket.socketpair()
        egress_ours, egress_theirs = socket.socketpair()
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_standby(kind, (theirs.fileno(), egress_theirs.fileno()), zygote)
        self.living.add(pid)
        pidfd = os.pidfd_open(pid)
        try:
            message = orjson.dumps({"pid": pid})
            socket.send_fds(self.pools[kind], [message], [ours.fileno(), egress_ours.fileno(), pidfd])
        except OSError:
            os.kill(pid, signal.SIGKILL)
        finally:
            os.close(pidfd)
            for end in (ours, theirs, egress_ours, egress_theirs):
                end.close()

    def _become_standby(self, kind: str, keep: Sequence[int], zygote: int) -> None:
        """Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if self.runtime.namespaces:
                namespaces.join(self.view) if kind == SEALED else namespaces.own_mounts()
            child.keep_only((*keep, self.ruleset) if kind == SEALED else keep)
            serve: Callable[[lockdown.Runtime, int], None] = child.serve_sealed if kind == SEALED else child.serve_open
            with contextlib.suppress(EOFError, BrokenPipeError):
                serve(self.runtime, zygote)
                os.read(child.CHANNEL, 1)
            code = 0
        finally:
            os._exit(code)


def _preload(modules: Sequence[str]) -> dict[str, str]:
    """Import the tools' modules; what can't be imported is told to the worker, not fatal."""
    failed: dict[str, str] = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 -- a tool's module may raise anything
            failed[module] = f"{type(error).__name__}: {error}"
    return failed


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Something to wake up for."""


def _limit_itself() -> None:
    """Put on the limits that are the same for every call, for all the children to inherit."""
    for which in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        resource.setrlimit(which, (0, 0))


def main(control_fd: int, open_fd: int, sealed_fd: int) -> None:
    """Set up as the worker's first message says, then serve."""
    control = socket.socket(fileno=control_fd)
    config = framing.decode(control.recv(framing.CONTROL_LIMIT))
    if config["namespaces"]:
        namespaces.enter()
    failed = _preload(config["preload"])
    runtime = lockdown.Runtime(
        namespaces=config["namespaces"],
        landlock_abi=landlock.abi(),
        folders=lockdown.runtime_folders(sys.path),
        program=seccomp.assemble(pid=seccomp.PLACEHOLDER),
    )
    syscalls.drop_bounding_set()
    _limit_itself()
    address_space = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    view = -1
    if runtime.namespaces:
        namespaces.build_root(runtime.folders)
        view = namespaces.sealed_view()
    ruleset = lockdown.ruleset(runtime)
    child.practise()
    read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()
    control.send(orjson.dumps({"ready": True, "failed": failed, "address_space": address_space}))
    pools = {OPEN: socket.socket(fileno=open_fd), SEALED: socket.socket(fileno=sealed_fd)}
    Zygote(control, pools, runtime, view, ruleset).run(config["worker"], read_end)
