"""Tier T2's own namespaces: user, mount, network, IPC, host name.

The zygote builds one small read-only root: a tmpfs with the Python runtime bound into it, and nothing else of the
machine. Every standby child gets a copy of that mount namespace, binds the call's folders into it and lets the old root
go. A read-only folder inside a writable one is really read-only here, which Landlock alone can't do: its rights add up.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from agents.sandbox import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.tools.files import Grant

OLD_ROOT = "/.old"
SCRATCH = "/scratch"
_STAGE = "/proc"  # exists everywhere, holds nothing that a bind needs, and disappears with the old root
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero")


def enter() -> None:
    """Move this process, which must have one thread only, into namespaces of its own, as the same user.

    Raises:
        OSError: the kernel, or a container's filter, does not allow it.
    """
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(
        syscalls.CLONE_NEWUSER
        | syscalls.CLONE_NEWNS
        | syscalls.CLONE_NEWNET
        | syscalls.CLONE_NEWIPC
        | syscalls.CLONE_NEWUTS
    )
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path("/proc/self", name).write_text(line, encoding="ascii")
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)


def build_root(runtime: Iterable[str]) -> None:
    """Make a tmpfs with `runtime` bound read-only the root; the machine's root stays at `OLD_ROOT` until `seal`."""
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", _STAGE, "tmpfs", flags, "size=1m,nr_inodes=1k,mode=755")
    for path in runtime:
        _bind_at(path, _STAGE + path, read_only=True, devices=False)
    for device in _DEVICES:
        _bind_at(device, _STAGE + device, read_only=False, devices=True)
    Path(_STAGE + OLD_ROOT).mkdir()
    Path(_STAGE + SCRATCH).mkdir()
    syscalls.pivot_root(_STAGE, _STAGE + OLD_ROOT)
    os.chdir("/")


def own_mounts() -> None:
    """Give this process a mount namespace of its own, a copy of the current one."""
    syscalls.unshare(syscalls.CLONE_NEWNS)


def sealed_view() -> int:
    """A descriptor of a mount namespace that is sealed already: the view of every call that touches no file.

    Making and unmaking one for each child would cost more than the rest of its locks together.
    """
    read_end, write_end = os.pipe()
    done_read, done_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            own_mounts()
            seal()
            os.write(write_end, b"1")
            os.read(done_read, 1)
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    try:
        if not os.read(read_end, 1):
            raise OSError("the sealed view could not be made")
        return os.open(f"{OLD_ROOT}/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.write(done_write, b"1")
        os.waitpid(pid, 0)
        for fd in (read_end, done_read, done_write):
            os.close(fd)


def join(view: int) -> None:
    """Enter the mount namespace that `sealed_view` made."""
    syscalls.call("setns", view, syscalls.CLONE_NEWNS)


def grant(grants: Iterable[Grant]) -> None:
    """Bind a call's folders from the old root to the same paths of the new one, outer folders first."""
    for folder in sorted(grants, key=lambda g: len(g.path)):
        _bind_at(OLD_ROOT + folder.path, folder.path, read_only=not folder.writable, devices=False, programs=False)


def scratch(max_disk_mb: int, max_files: int) -> None:
    """An empty folder in memory with a quota, at `SCRATCH`."""
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("tmpfs", SCRATCH, "tmpfs", flags, f"size={max_disk_mb}m,nr_inodes={max_files + 1},mode=700")


def seal() -> None:
    """Let go of the machine's root, and make the new one read-only."""
    syscalls.umount(OLD_ROOT, syscalls.MNT_DETACH)
    flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("none", "/", "", flags)


def _bind_at(source: str, target: str, *, read_only: bool, devices: bool, programs: bool = True) -> None:
    if os.path.isdir(source):  # noqa: PTH112 -- on the hot path of every call
        os.makedirs(target, mode=0o755, exist_ok=True)  # noqa: PTH103 -- as above
    elif not os.path.exists(target):  # noqa: PTH110 -- as above
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    syscalls.bind(source, target, read_only=read_only, devices=devices, programs=programs)
