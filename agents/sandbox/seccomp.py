"""seccomp: the assembler that turns the rule tables into a filter, and its loading.

The program checks the architecture, then finds the call's number in a balanced tree of ranges, then looks at arguments
where a rule asks for it. See seccomp(2) and the kernel's Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.sandbox import syscalls
from agents.sandbox.seccomp_rules import ALLOWED, CONDITIONAL, OWN_PID, REFUSED, Condition, Never, Only
from agents.sandbox.syscall_table import BY_MACHINE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOAD, _AND, _JUMP, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
_RET_ALLOW = 0x7FFF0000
_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000
_X32_BIT = 0x40000000
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_SET_MODE_FILTER = 1
_HALF = 0xFFFFFFFF
PLACEHOLDER = 0x7FFF_FFFE  # above the largest process id that Linux gives


@dataclass(frozen=True)
class RuleTables:
    """What a filter is assembled from; the mutation tests pass tables with one entry less."""

    allowed: Sequence[str] = ALLOWED
    conditional: Mapping[str, Sequence[Condition]] | None = None
    refused: Sequence[str] = REFUSED
    kill_foreign_architecture: bool = True
    kill_x32: bool = True


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


Leaf = int | tuple[Condition, ...]
Instruction = tuple[int, int, int, int]


def assemble(tables: RuleTables | None = None, machine: str = syscalls.MACHINE, pid: int | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, for a process with this id (default: the caller)."""
    tables = tables or RuleTables()
    own = os.getpid() if pid is None else pid
    code: list[Instruction] = []
    if tables.kill_foreign_architecture:
        code += [
            (_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
            (_JUMP_EQUAL, 1, 0, _ARCHITECTURE[machine]),
            (_RETURN, 0, 0, _RET_KILL_PROCESS),
        ]
    code.append((_LOAD, 0, 0, _OFFSET_NUMBER))
    if machine == "x86_64" and tables.kill_x32:
        code += [(_JUMP_GREATER_EQUAL, 0, 1, _X32_BIT), (_RETURN, 0, 0, _RET_KILL_PROCESS)]
    code += _tree(_ranges(_leaves(tables, machine)), own)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def for_process(program: bytes, pid: int) -> bytes:
    """A filter that was assembled with `PLACEHOLDER` in the place of its process's id, for the process `pid`."""
    old = struct.pack("=HBBI", _JUMP_EQUAL, 1, 0, PLACEHOLDER)
    return program.replace(old, struct.pack("=HBBI", _JUMP_EQUAL, 1, 0, pid))


def load(program: bytes) -> None:
    """Put the filter on this thread and its children for good. Needs `PR_SET_NO_NEW_PRIVS`."""
    prog = _Program(len(program) // 8, program)
    syscalls.call("seccomp", _SET_MODE_FILTER, 0, ctypes.byref(prog))


def _leaves(tables: RuleTables, machine: str) -> dict[int, Leaf]:
    numbers = BY_MACHINE[machine]
    conditional = CONDITIONAL if tables.conditional is None else tables.conditional
    leaves: dict[int, Leaf] = {numbers[n]: _RET_ERRNO | errno.EPERM for n in tables.refused if n in numbers}
    leaves |= {numbers[n]: tuple(c) for n, c in conditional.items() if n in numbers}
    leaves |= {numbers[n]: _RET_ALLOW for n in tables.allowed if n in numbers}
    return leaves


def _ranges(leaves: dict[int, Leaf]) -> list[tuple[int, Leaf]]:
    """(first number, what to do from there on), neighbours with the same answer merged."""
    ranges: list[tuple[int, Leaf]] = []
    for number in range(max(leaves) + 2):
        leaf = leaves.get(number, _RET_ERRNO | errno.ENOSYS)
        if not ranges or ranges[-1][1] != leaf:
            ranges.append((number, leaf))
    return ranges


def _tree(ranges: list[tuple[int, Leaf]], pid: int) -> list[Instruction]:
    if len(ranges) == 1:
        return _leaf(ranges[0][1], pid)
    middle = len(ranges) // 2
    below, above = _tree(ranges[:middle], pid), _tree(ranges[middle:], pid)
    # A conditional jump reaches 255 instructions, an unconditional one any distance.
    return [(_JUMP_GREATER_EQUAL, 0, 1, ranges[middle][0]), (_JUMP, 0, 0, len(below)), *below, *above]


def _leaf(leaf: Leaf, pid: int) -> list[Instruction]:
    if isinstance(leaf, int):
        return [(_RETURN, 0, 0, leaf)]
    checks = [instruction for condition in leaf for instruction in _check(condition, pid)]
    return [*checks, (_RETURN, 0, 0, _RET_ALLOW)]


def _check(condition: Condition, pid: int) -> list[Instruction]:
    """Falls through when the condition holds, returns EPERM when not."""
    offset = _OFFSET_ARGUMENTS + 8 * condition.argument
    refuse: Instruction = (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM)
    code: list[Instruction] = []
    if isinstance(condition, Only) and condition.wide:
        code += [(_LOAD, 0, 0, offset + 4), (_JUMP_EQUAL, 1, 0, 0), refuse]
    code += [(_LOAD, 0, 0, offset), (_AND, 0, 0, condition.mask & _HALF)]
    values = [pid if value == OWN_PID else value for value in condition.values]
    for position, value in enumerate(values):
        # Past the other values and one more: over the refusal (Only), or over the jump that avoids it (Never).
        code.append((_JUMP_EQUAL, len(values) - position, 0, value))
    if isinstance(condition, Never):
        code.append((_JUMP, 0, 0, 1))
    code.append(refuse)
    return code
