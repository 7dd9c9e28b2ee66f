"""Who spends the processor's time of a round trip: what all processes of a site have used, by kind.

From /proc, so on Linux only, and PostgreSQL counts where its processes are on this machine. Connections that end
meanwhile are not counted.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from pathlib import Path

import psycopg
import redis

from tests.fixtures.processes import Site

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def processor_time(site: Site) -> dict[str, float]:
    """Seconds of user and system time so far: workers, their parent, sandboxes, web, beat, PostgreSQL and Redis."""
    spent: defaultdict[str, float] = defaultdict(float)
    for name, process in site.processes.items():
        root = process.popen.pid
        if name != "worker":
            spent[name] += sum(map(_own, family(root)))
            continue
        spent["workers' parent"] += _own(root)
        for child in _children(root):
            spent["workers"] += _own(child)
            # Each call has a process of its own, which is over by now: its time stands with whoever waited for it.
            spent["sandboxes"] += _of_ended(child) + sum(_own(pid) + _of_ended(pid) for pid in family(child)[1:])
    with psycopg.connect(site.environment["DATABASE_URL"]) as database:
        backends = database.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    spent["PostgreSQL"] += sum(_own(pid) for (pid,) in backends)
    with redis.Redis.from_url(site.environment["REDIS_URL"]) as broker:
        used = broker.info("cpu")
    spent["Redis"] += used["used_cpu_sys"] + used["used_cpu_user"]
    return spent


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the command's name; none for a process that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return []


def _own(pid: int) -> float:
    return sum(map(int, _stat(pid)[11:13])) * _TICK


def _of_ended(pid: int) -> float:
    """What the children used for which this process has waited."""
    return sum(map(int, _stat(pid)[13:15])) * _TICK


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for listed in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, listed.read_text(encoding="ascii").split())
    return found


def family(pid: int) -> list[int]:
    """A process and its children, grandchildren and so on."""
    return [pid, *(each for child in _children(pid) for each in family(child))]
