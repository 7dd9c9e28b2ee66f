"""Asks the kernel what each rule of the sandbox's tables does, with all of them and with each one taken away.

`python -m tests.sandbox.rule_probe` prints one JSON object (`--rules-only`: without taking any away). It is a program
of its own because it forks a lot.
"""

# One plain system call after the other, whatever it raises.
# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH208, PTH211, S606, PLW0108, BLE001

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.sandbox import landlock, seccomp, syscalls
from agents.sandbox.landlock import PathRule
from agents.sandbox.seccomp_rules import ALLOWED, CONDITIONAL, REFUSED, Condition, Only
from agents.sandbox.syscall_table import BY_MACHINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUMBERS = BY_MACHINE[syscalls.MACHINE]
HIGHEST = 470
# These do not come back, so each is asked in a child of its own.
NO_RETURN = ("exit", "exit_group", "pause", "rt_sigreturn")
# uretprobe and uprobe: the kernel takes them past every filter, and kills whoever calls them from elsewhere.
UNFILTERED = (335, 336)
libc = ctypes.CDLL(None, use_errno=True)
Verdicts = dict[str, str]


def in_child(work: Callable[[], Any]) -> str:
    """What `work` returns, as JSON text; or how its process ended."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            text = json.dumps(work())
            os.write(write_end, text.encode())
        except BaseException as error:
            os.write(write_end, json.dumps(f"{type(error).__name__}: {error}").encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return data or json.dumps(f"ended {code}")


def ask(number: int, *args: Any) -> str:
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    if number == NUMBERS["clone"] and result == 0:
        os._exit(0)
    return errno.errorcode.get(ctypes.get_errno(), "?") if result == -1 else "ok"


def filtered(tables: seccomp.RuleTables, work: Callable[[], Any]) -> Any:
    def inner() -> Any:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.load(seccomp.assemble(tables))
        return work()

    return json.loads(in_child(inner))


# --- seccomp -------------------------------------------------------------------------------------------------------


def by_number() -> dict[str, str]:
    """What the kernel says to each number with arguments that are no good: EPERM, ENOSYS, or anything else."""
    skipped = {*UNFILTERED, *(NUMBERS[n] for n in NO_RETURN if n in NUMBERS)}
    said = {str(n): ask(n, -1, -1, -1, -1, -1, -1) for n in range(HIGHEST) if n not in skipped}
    return {n: verdict if verdict in ("EPERM", "ENOSYS") else "passed" for n, verdict in said.items()}


def no_return(name: str) -> Any:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    return ask(NUMBERS[name], 7)


def with_arguments() -> dict[str, str]:
    """What each condition on arguments lets through and stops."""
    null = os.open("/dev/null", os.O_RDWR)
    path = b"/dev/null\0"
    big = 1 << 32
    cases: dict[str, tuple[Any, ...]] = {
        "clone fork": ("clone", signal.SIGCHLD, 0, 0, 0, 0),
        "clone thread in a user namespace": ("clone", 0x10010000, 0, 0, 0, 0),
        "openat read": ("openat", -100, path, os.O_RDONLY),
        "openat write": ("openat", -100, path, os.O_WRONLY | os.O_TRUNC),
        "openat truncating read": ("openat", -100, path, os.O_RDONLY | os.O_TRUNC),
        "open truncating read": ("open", path, os.O_RDONLY | os.O_TRUNC),
        "open read": ("open", path, os.O_RDONLY),
        "prlimit64 read": ("prlimit64", 0, 7, 0, 0),
        "prlimit64 set": ("prlimit64", 0, 7, 8, 0),
        "prlimit64 set, high half": ("prlimit64", 0, 7, big, 0),
        "prlimit64 another": ("prlimit64", 1, 7, 0, 0),
        "futex wake": ("futex", path, 129, 1, 0, 0, 0),
        "tgkill itself": ("tgkill", os.getpid(), os.getpid(), 0),
        "tgkill another": ("tgkill", os.getppid(), os.getppid(), 0),
    }
    cases |= {f"fcntl {c}": ("fcntl", -1, c, 0) for c in (*range(17), *range(36, 39), *range(1024, 1037))}
    cases |= {f"ioctl {c:#x}": ("ioctl", null, c, 0) for c in (*range(0x5401, 0x5453),)}
    cases |= {f"prctl {c}": ("prctl", c, -1, -1, -1, -1) for c in range(1, 70)}
    cases |= {f"renameat2 {f}": ("renameat2", -1, path, -1, path, f) for f in range(8)}
    said = {name: ask(NUMBERS[call], *args) for name, (call, *args) in cases.items() if call in NUMBERS}
    return {name: verdict if verdict in ("EPERM", "ENOSYS") else "passed" for name, verdict in said.items()}


def foreign() -> str:
    """A 32-bit system call made with `int 0x80` (getpid)."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes([0x53, 0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0x5B, 0xC3]))
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return "passed" if ctypes.CFUNCTYPE(ctypes.c_int)(address)() else "?"


def seccomp_verdicts(tables: seccomp.RuleTables, rule: str = "") -> Verdicts:
    """All verdicts; with `rule`, the slow ones only if it is about them."""
    names = {str(n): name for name, n in NUMBERS.items()}
    found: Verdicts = {}
    for probe in (by_number, with_arguments):
        said = filtered(tables, probe)
        found |= said if isinstance(said, dict) else {probe.__name__: str(said)}
    found = {names.get(k, k): v for k, v in found.items()}
    for name in NO_RETURN:
        if name in NUMBERS and rule in ("", f"allowed {name}"):
            found[name] = str(filtered(tables, partial(no_return, name)))
    if syscalls.MACHINE == "x86_64" and rule in ("", "x32", "foreign"):
        found["x32"] = str(filtered(tables, lambda: ask(0x40000000 | 39)))
        found["foreign"] = str(filtered(tables, foreign))
    return found


def seccomp_mutants() -> dict[str, seccomp.RuleTables]:
    tables = seccomp.RuleTables(conditional=CONDITIONAL)
    mutants = {
        f"allowed {name}": replace(tables, allowed=without(ALLOWED, name)) for name in ALLOWED if name in NUMBERS
    }
    mutants |= {
        f"refused {name}": replace(tables, refused=without(REFUSED, name)) for name in REFUSED if name in NUMBERS
    }
    for name, conditions in CONDITIONAL.items():
        if name in NUMBERS:
            fewer = {k: v for k, v in CONDITIONAL.items() if k != name}
            mutants[f"rule {name}"] = replace(tables, conditional=fewer)
            for change, changed in weaker(conditions):
                mutants[f"{change} of {name}"] = replace(tables, conditional={**CONDITIONAL, name: changed})
    if syscalls.MACHINE == "x86_64":
        mutants["x32"] = replace(tables, kill_x32=False)
        mutants["foreign"] = replace(tables, kill_foreign_architecture=False)
    return mutants


def without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(n for n in names if n != name)


def weaker(conditions: tuple[Condition, ...]) -> Iterator[tuple[str, tuple[Condition, ...]]]:
    """One rule's conditions with one of them, one of its values, or its width taken away."""
    for i, condition in enumerate(conditions):
        before, after = conditions[:i], conditions[i + 1 :]
        yield f"condition {i}", (*before, *after)
        for value in condition.values if len(condition.values) > 1 else ():
            values = tuple(v for v in condition.values if v != value)
            yield f"value {i} {value}", (*before, replace(condition, values=values), *after)
        if isinstance(condition, Only) and condition.wide:
            yield f"width {i}", (*before, replace(condition, wide=False), *after)


# --- Landlock ------------------------------------------------------------------------------------------------------


def attempt(work: Callable[[], Any]) -> str:
    try:
        work()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    return "ok"


def touch(path: Path) -> None:
    os.mknod(path, 0o100600)


def landlock_verdicts(handled: dict[int, int], net: dict[int, int], scoped: dict[int, int]) -> Verdicts:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sub in ("a", "b", "empty", "given/one", "given/two"):
            (folder / sub).mkdir(parents=True)
        (folder / "file").write_text("x")
        (folder / "given/one/file").write_text("x")
        with socket.socket(socket.AF_UNIX) as abstract, socket.socket() as listening:
            abstract.bind(f"\0routekit-{os.getpid()}")
            abstract.listen()
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            port = listening.getsockname()[1]
            said = in_child(lambda: landlocked(folder, port, handled, net, scoped))
        found = json.loads(said)
        executed = json.loads(in_child(lambda: executes(handled)))
        return {**found, "execute": executed}


def landlocked(folder: Path, port: int, *tables: dict[int, int]) -> Verdicts:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    rules = (PathRule(f"{folder}/given", landlock.WRITE), PathRule("/dev/zero", landlock.DEVICE))
    given = folder / "given"
    mother, name = os.getppid(), f"\0routekit-{os.getppid()}"
    landlock.restrict(rules, landlock.abi(), *tables)
    zero = os.open("/dev/zero", os.O_RDONLY)
    return {
        "read file": attempt(lambda: (folder / "file").read_bytes()),
        "write file": attempt(lambda: os.close(os.open(folder / "file", os.O_WRONLY))),
        "truncate": attempt(lambda: os.truncate(folder / "file", 1)),
        "read folder": attempt(lambda: os.listdir(folder)),
        "remove folder": attempt(lambda: os.rmdir(folder / "empty")),
        "remove file": attempt(lambda: os.unlink(folder / "file")),
        "make folder": attempt(lambda: os.mkdir(folder / "made")),
        "make file": attempt(lambda: touch(folder / "made.txt")),
        "make character device": attempt(lambda: os.mknod(folder / "c", 0o20600, os.makedev(1, 3))),
        "make block device": attempt(lambda: os.mknod(folder / "d", 0o60600, os.makedev(8, 0))),
        "make socket": attempt(lambda: socket.socket(socket.AF_UNIX).bind(str(folder / "s"))),
        "make fifo": attempt(lambda: os.mkfifo(folder / "p")),
        "make symlink": attempt(lambda: os.symlink("x", folder / "l")),
        "move between granted folders": attempt(lambda: os.rename(given / "one/file", given / "two/file")),
        "device ioctl": attempt(lambda: fcntl.ioctl(zero, 0x5413, b"\0" * 8)),
        "bind tcp": attempt(lambda: socket.socket().bind(("127.0.0.1", 0))),
        "connect tcp": attempt(lambda: socket.socket().connect(("127.0.0.1", port))),
        "abstract socket": attempt(lambda: socket.socket(socket.AF_UNIX).connect(name)),
        "signal": attempt(lambda: os.kill(mother, 0)),
    }


def executes(handled: dict[int, int]) -> str:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    rules = [PathRule(p, landlock.READ) for p in ("/usr", "/lib", "/lib64", "/bin", "/etc")]
    landlock.restrict(rules, landlock.abi(), handled, {}, {})
    pid = os.fork()
    if pid == 0:
        try:
            os.execv("/bin/true", ["true"])
        finally:
            os._exit(99)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def landlock_mutants() -> dict[str, tuple[dict[int, int], dict[int, int], dict[int, int]]]:
    version = landlock.abi()
    whole = (landlock.HANDLED, landlock.HANDLED_NET, landlock.SCOPED)
    mutants = {}
    for position, table in enumerate(whole):
        for bit, since in table.items():
            if since <= version:
                fewer = [dict(t) for t in whole]
                del fewer[position][bit]
                mutants[f"landlock {position} {bit:#x}"] = (fewer[0], fewer[1], fewer[2])
    return mutants


def main() -> None:
    baseline = seccomp_verdicts(seccomp.RuleTables())
    whole = landlock_verdicts(landlock.HANDLED, landlock.HANDLED_NET, landlock.SCOPED)
    if "--rules-only" in sys.argv:
        sys.stdout.write(json.dumps({"seccomp": baseline, "landlock": whole}))
        return
    changed: dict[str, dict[str, list[str | None]]] = {}
    for name, tables in seccomp_mutants().items():
        mutated = seccomp_verdicts(tables, name)
        changed[name] = {k: [baseline.get(k), v] for k, v in mutated.items() if baseline.get(k) != v}
    for name, lists in landlock_mutants().items():
        mutated = landlock_verdicts(*lists)
        changed[name] = {k: [v, mutated.get(k)] for k, v in whole.items() if mutated.get(k) != v}
    sys.stdout.write(json.dumps({"seccomp": baseline, "landlock": whole, "changed": changed}))


if __name__ == "__main__":
    main()
