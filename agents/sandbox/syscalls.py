"""The kernel calls that the sandbox needs and Python 3.11 does not have, through ctypes. Imports on every platform.

Constants are those of Linux's public headers; they hold on x86_64 and aarch64 unless a table says otherwise.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import sys
from typing import Any

LINUX = sys.platform.startswith("linux")
MACHINE = platform.machine()

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC if hasattr(os, "O_CLOEXEC") else 0
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
O_PATH = getattr(os, "O_PATH", 0)

# Numbers of the calls made here; the seccomp tables are in `syscall_table`.
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {"pivot_root": 155, "seccomp": 317, "capset": 126, "setns": 308},
    "aarch64": {"pivot_root": 41, "seccomp": 277, "capset": 91, "setns": 268},
}
_SHARED = {
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "open_tree": 428,
    "move_mount": 429,
    "close_range": 436,
    "mount_setattr": 442,
}


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True) if LINUX else None


libc = _libc()


def supported() -> bool:
    """Whether this platform is one that the sandbox's kernel tiers know."""
    return LINUX and MACHINE in _NUMBERS


def call(name: str, *args: Any) -> int:
    """One raw system call by name.

    Raises:
        OSError: the kernel refused; `errno` says why.
    """
    number = _SHARED.get(name) or _NUMBERS[MACHINE][name]
    return _checked(libc.syscall(ctypes.c_long(number), *(_wide(a) for a in args)), name)


def _wide(value: Any) -> Any:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def prctl(option: int, *args: int) -> int:
    """Set a property of this process; missing arguments are zero."""
    padded = [*args, 0, 0, 0, 0][:4]
    return _checked(libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(a) for a in padded)), "prctl")


def unshare(flags: int) -> None:
    """Leave the shared namespaces that `flags` name."""
    _checked(libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount a file system."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode())
    _checked(libc.mount(*arguments), f"mount on {target}")


def umount(target: str, flags: int = 0) -> None:
    """Take a mount away."""
    _checked(libc.umount2(target.encode(), ctypes.c_int(flags)), f"umount of {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of the mount namespace and put the old one at `old`."""
    call("pivot_root", new.encode(), old.encode())


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def bind(source: str, target: str, *, read_only: bool, devices: bool, programs: bool) -> None:
    """Bind `source` with all that is mounted below it on `target`: never set-uid; devices and programs if asked for."""
    tree = call("open_tree", AT_FDCWD, source.encode(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)
    try:
        flags = MOUNT_ATTR_NOSUID | (MOUNT_ATTR_RDONLY if read_only else 0)
        flags |= (0 if devices else MOUNT_ATTR_NODEV) | (0 if programs else MOUNT_ATTR_NOEXEC)
        attributes = _MountAttributes(flags, 0, 0, 0)
        size = ctypes.sizeof(attributes)
        call("mount_setattr", tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, ctypes.byref(attributes), size)
        call("move_mount", tree, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


def close_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    if LINUX:
        call("close_range", first, 0xFFFFFFFF, 0)
    else:
        os.closerange(first, 4096)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_CAPABILITY_VERSION_3 = 0x20080522


def drop_bounding_set() -> None:
    """Give up every capability that a program started later could get. Needs CAP_SETPCAP; without it there are none."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            return


def drop_capabilities() -> None:
    """Give up every capability held now, for good."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    call("capset", ctypes.byref(header), (ctypes.c_uint32 * 6)())
