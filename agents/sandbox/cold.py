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


def run(made: Plan, tenant_id: int, scratch: str, cancelled: Callable[[], bool] | None) -> Outcome:
    """Run one call in a subprocess of its own."""
    started = time.monotonic()
    limits = made.limits
    ceilings = [
        [resource.RLIMIT_CPU, limits.cpu_seconds],
        [resource.RLIMIT_AS, (limits.memory_mb + _INTERPRETER_MB) << 20],
        [resource.RLIMIT_FSIZE, limits.max_file_mb << 20],
        [resource.RLIMIT_NOFILE, max(limits.max_open_files, 256)],
        [resource.RLIMIT_CORE, 0],
    ]
    channel, theirs = socket.socketpair()
    egress, egress_theirs = socket.socketpair()
    fds = (theirs.fileno(), egress_theirs.fileno())
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
    theirs.close()
    egress_theirs.close()
    child = ColdChild(process, channel, egress)
    with contextlib.closing(child), session.opened(made, tenant_id, egress) as open_egress:
        confined = Confined(made, tenant_id, child, 0, child.obituary, cancelled, started, limited=True)
        outcome = confined.run(scratch)
        child.kill()
        return open_egress.added_to(outcome)
