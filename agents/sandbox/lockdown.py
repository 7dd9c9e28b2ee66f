"""Putting the locks on: the order matters, and each step is one that the next relies on.

Note [Order of the locks]
  1. mounts (T2), while the process still holds its user namespace's capabilities;
  2. capabilities dropped, bounding set first, so that nothing below can be undone;
  3. not dumpable, and the death signal: the kernel clears both when credentials change, so they come after 2;
  4. no_new_privs, which 5 and 6 need;
  5. Landlock, which needs system calls that 6 refuses;
  6. seccomp, last.
"""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.sandbox import landlock, namespaces, seccomp, syscalls
from agents.sandbox.landlock import PathRule

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.tools.files import Grant

_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")


@dataclass(frozen=True)
class Runtime:
    """What is the same for every call of a zygote: the tier, Landlock's version, Python's folders, the filter.

    `program` is assembled for `seccomp.PLACEHOLDER`.
    """

    namespaces: bool
    landlock_abi: int
    folders: tuple[str, ...]
    program: bytes = b""


def runtime_folders(path: list[str]) -> tuple[str, ...]:
    """The folders that Python may import from in a child: system libraries, the standard library, site-packages.

    The project's own folder, where the settings are, is not among them: the tools' modules are imported before.
    """
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    stdlib = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    packages = {p for p in path if Path(p).name in ("site-packages", "dist-packages", "lib-dynload")}
    wanted = {*_SYSTEM, *(f"{p}/lib" for p in prefixes), *stdlib, *packages}
    wanted |= {os.path.realpath(p) for p in wanted}
    present = sorted(p for p in wanted if Path(p).is_dir())
    return tuple(p for p in present if not any(p != q and Path(p).is_relative_to(q) for q in present))


def isolate(runtime: Runtime, grants: tuple[Grant, ...], scratch: tuple[int, int] | None) -> None:
    """Step 1: the view of the file system that this call has. `scratch` is MiB and number of files."""
    if not runtime.namespaces:
        return
    namespaces.grant(grants)
    if scratch is not None:
        namespaces.scratch(*scratch)
    namespaces.seal()


def lock(runtime: Runtime, ruleset_of_call: Callable[[], int], parent: int) -> None:
    """Steps 2 to 6, see Note [Order of the locks]. `parent` is the zygote, which must still be alive.

    `ruleset_of_call` gives Landlock's rules, a descriptor that is closed here. It is asked in step 5, when nothing but
    the process's own rights can open a path.

    Raises:
        OSError: a lock could not be put on; the caller must not run anything.
    """
    syscalls.drop_capabilities()
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise OSError("the zygote is gone")
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict_to(ruleset_of_call())
    seccomp.load(seccomp.for_process(runtime.program, os.getpid()))


def ruleset(runtime: Runtime, grants: tuple[Grant, ...] = (), scratch: str = "") -> int:
    """A descriptor of Landlock's rules for a call with these folders; without any, the same for every call."""
    return landlock.ruleset(path_rules(runtime, grants, scratch), runtime.landlock_abi)


def path_rules(runtime: Runtime, grants: tuple[Grant, ...], scratch: str) -> tuple[PathRule, ...]:
    """What Landlock gives back: the runtime for reading, three harmless devices, the call's folders, its scratch."""
    return (
        *(PathRule(folder, landlock.READ) for folder in runtime.folders),
        *(PathRule(device, landlock.DEVICE) for device in _DEVICES),
        *(PathRule(g.path, landlock.WRITE if g.writable else landlock.READ) for g in grants),
        *([PathRule(scratch, landlock.WRITE)] if scratch else []),
    )
