"""Tier T0: a subprocess for each call, with a clean environment and rlimits: not a boundary."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.sandbox import launch
from agents.sandbox.confined import Confined
from agents.sandbox.egress import session
from agents.sandbox.errors import SandboxUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents.sandbox.outcome import Outcome
    from agents.sandbox.plan import Plan

_INTERPRETER_MB = 512
_BOOT = (
    launch.BOOT + "from agents.sandbox import child; "
    "child.keep_only([int(sys.argv[2]), int(sys.argv[3])]); child.serve_unlocked(json.loads(sys.argv[4]))"
)


@dataclass
class ColdChild:
    """A subprocess in the place of a standby child."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    egress: socket.socket

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()

    def living(self) -> bool:
        return self.process.poll() is None

    def ended(self, timeout: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        return self.process.returncode is not None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.channel.close()
        self.egress.close()

    def obituary(self, _pid: int) -> Mapping[str, Any]:
        self.process.wait()
        return {"code": self.process.returncode}


def _started(ceilings: list[list[int]]) -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket]:
    """The subprocess, which waits for its call, with our ends of its channel and of its way to the egress broker.

    Raises:
        SandboxUnavailableError: it could not be started.
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        try:
            pairs = [socket.socketpair() for _ in range(2)]
            for mine, other in pairs:
                ours.enter_context(mine)
                theirs.enter_context(other)
            fds = [other.fileno() for _, other in pairs]
            argv = [launch.python(), "-I", "-S", "-c", _BOOT, json.dumps(launch.code_path()), *map(str, fds)]
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter and code
                [*argv, json.dumps(ceilings)],
                env=launch.clean_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxUnavailableError.at("The call's process could not be started", error) from None
        ours.pop_all()
        return process, pairs[0][0], pairs[1][0]


def run(made: Plan, tenant_id: int, scratch: str, cancelled: Callable[[], bool] | None) -> Outcome:
    """Run one call in a subprocess of its own.

    Raises:
        SandboxUnavailableError: it could not be started.
    """
    started = time.monotonic()
    limits = made.limits
    ceilings = [
        [resource.RLIMIT_CPU, limits.cpu_seconds],
        [resource.RLIMIT_AS, (limits.memory_mb + _INTERPRETER_MB) << 20],
        [resource.RLIMIT_FSIZE, limits.max_file_mb << 20],
        [resource.RLIMIT_NOFILE, max(limits.max_open_files, 256)],
        [resource.RLIMIT_CORE, 0],
    ]
    process, channel, egress = _started(ceilings)
    child = ColdChild(process, channel, egress)
    with contextlib.closing(child), session.opened(made, tenant_id, egress) as open_egress:
        confined = Confined(made, tenant_id, child, 0, child.obituary, cancelled, started, limited=True)
        outcome = confined.run(scratch)
        child.kill()
        return open_egress.added_to(outcome)
