"""Landlock: which files the tool may touch, decided by the kernel for the rest of the process's life.

Rights and scopes are tables with the ABI version that brought them; an older kernel gets the rights it knows, and
`probe` reports which those are. See landlock(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.sandbox import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

# Every right that the sandbox takes away unless a grant gives it back: right -> first ABI that has it.
HANDLED: dict[int, int] = {
    EXECUTE: 1,
    WRITE_FILE: 1,
    READ_FILE: 1,
    READ_DIR: 1,
    REMOVE_DIR: 1,
    REMOVE_FILE: 1,
    MAKE_CHAR: 1,
    MAKE_DIR: 1,
    MAKE_REG: 1,
    MAKE_SOCK: 1,
    MAKE_FIFO: 1,
    MAKE_BLOCK: 1,
    MAKE_SYM: 1,
    REFER: 2,
    TRUNCATE: 3,
    IOCTL_DEV: 5,
}
NET_BIND_TCP = 1 << 0
NET_CONNECT_TCP = 1 << 1
HANDLED_NET: dict[int, int] = {NET_BIND_TCP: 4, NET_CONNECT_TCP: 4}
SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
SCOPE_SIGNAL = 1 << 1
SCOPED: dict[int, int] = {SCOPE_ABSTRACT_UNIX_SOCKET: 6, SCOPE_SIGNAL: 6}

READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
DEVICE = READ_FILE | WRITE_FILE
_FILE_RIGHTS = READ_FILE | WRITE_FILE | EXECUTE | TRUNCATE | IOCTL_DEV
_RULE_PATH_BENEATH = 1
_CREATE_RULESET_VERSION = 1


@dataclass(frozen=True)
class PathRule:
    """Rights given back below one path."""

    path: str
    rights: int


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("fd", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock version, 0 when there is none."""
    if not syscalls.supported():
        return 0
    try:
        return syscalls.call("landlock_create_ruleset", 0, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def known(table: dict[int, int], version: int) -> int:
    """The bits of a table that this Landlock version has."""
    return sum(bit for bit, since in table.items() if since <= version)


def restrict(
    rules: Iterable[PathRule],
    version: int,
    handled: dict[int, int] = HANDLED,
    net: dict[int, int] = HANDLED_NET,
    scoped: dict[int, int] = SCOPED,
) -> None:
    """Take every handled right from this thread and its children except what `rules` give back.

    Call from the only thread of the process, after `PR_SET_NO_NEW_PRIVS`. A rule's path that does not exist is
    skipped: nothing is granted. The tables are parameters so that a test can take one entry away.
    """
    restrict_to(ruleset(rules, version, handled, net, scoped))


def ruleset(
    rules: Iterable[PathRule],
    version: int,
    handled: dict[int, int] = HANDLED,
    net: dict[int, int] = HANDLED_NET,
    scoped: dict[int, int] = SCOPED,
) -> int:
    """A descriptor of these rules, as `restrict` describes them; they bind nobody yet.

    Rules hold for files, not for paths: they are the same in every mount namespace that has these files.
    """
    fs_rights = known(handled, version)
    attributes = _RulesetAttributes(fs_rights, known(net, version), known(scoped, version))
    size = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16}.get(version, 24)
    made = syscalls.call("landlock_create_ruleset", ctypes.byref(attributes), size, 0)
    try:
        for rule in rules:
            with contextlib.suppress(FileNotFoundError):
                _add(made, rule, fs_rights)
    except BaseException:
        os.close(made)
        raise
    return made


def restrict_to(made: int) -> None:
    """Bind this thread and its children to a ruleset, each process in a domain of its own, and let go of it."""
    try:
        syscalls.call("landlock_restrict_self", made, 0)
    finally:
        os.close(made)


def _add(ruleset: int, rule: PathRule, fs_rights: int) -> None:
    fd = os.open(rule.path, syscalls.O_PATH | os.O_CLOEXEC)
    try:
        rights = rule.rights & fs_rights
        if not os.path.isdir(rule.path):  # noqa: PTH112 -- on the hot path of every call
            rights &= _FILE_RIGHTS
        beneath = _PathBeneath(rights, fd)
        syscalls.call("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(fd)
