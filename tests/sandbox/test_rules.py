"""Every rule of the seccomp and Landlock tables, asked of the kernel; and each one missed when it is taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.sandbox import landlock, seccomp
from agents.sandbox.seccomp_rules import ALLOWED, CONDITIONAL, REFUSED
from agents.sandbox.syscall_table import AARCH64, X86_64

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "rules.json").read_text())
pytestmark = [
    pytest.mark.skipif(landlock.abi() < 6, reason="the table is that of a kernel with Landlock ABI 6 or newer"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the table is that of x86_64"),
]


def asked(*options: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.sandbox.rule_probe", *options]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=HERE.parents[1], check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_kernel_says_what_the_table_of_verdicts_says() -> None:
    found = asked("--rules-only")
    differences = {
        kind: {k: (v, found[kind].get(k)) for k, v in GOLDEN[kind].items() if found[kind].get(k) != v}
        for kind in GOLDEN
    }
    assert differences == {"seccomp": {}, "landlock": {}}
    new = {k: v for k, v in found["seccomp"].items() if k not in GOLDEN["seccomp"] and v != "ENOSYS"}
    assert new == {}


def test_the_tables_of_verdicts_and_of_rules_agree() -> None:
    verdicts = GOLDEN["seccomp"]
    refused = {n for n in REFUSED if n in X86_64}
    assert {n for n in refused if verdicts[n] != "EPERM"} == set()
    assert {n for n in ALLOWED if verdicts[n] in ("EPERM", "ENOSYS")} - {"futex"} == set()


@pytest.mark.slow
def test_each_rule_is_missed_when_it_is_taken_away() -> None:
    changed = asked()["changed"]
    assert len(changed) > 340
    assert [rule for rule, difference in changed.items() if not difference] == []


def test_no_rule_is_in_two_tables() -> None:
    names = [*ALLOWED, *CONDITIONAL, *REFUSED]
    assert len(names) == len(set(names))
    assert set(names) <= set(X86_64)
    assert "clone3" not in names


@pytest.mark.parametrize(("machine", "table"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_filters_assemble_for_both_machines(machine: str, table: dict[str, int]) -> None:
    program = seccomp.assemble(machine=machine, pid=1)
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096
    assert simulate(program, machine, table["read"]) == 0x7FFF0000
    assert simulate(program, machine, table["socket"]) == 0x00050001
    assert simulate(program, machine, table["clone3"]) == 0x00050026
    assert simulate(program, machine, 4999) == 0x00050026
    assert simulate(program, machine, table["tgkill"], 1) == 0x7FFF0000
    assert simulate(program, machine, table["tgkill"], 2) == 0x00050001
    assert simulate(program, machine, table["openat"], 0, 0, 0o1000) == 0x00050001
    assert simulate(program, machine, table["openat"], 0, 0, 0o1001) == 0x7FFF0000
    other = "aarch64" if machine == "x86_64" else "x86_64"
    assert simulate(program, other, table["read"]) == 0x80000000


BROTHERS = """
import os
from agents.sandbox import landlock, syscalls

made = landlock.ruleset((), landlock.abi())
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
(ready, say_ready), (over, kept) = os.pipe(), os.pipe()
brother = os.fork()
if brother == 0:
    landlock.restrict_to(made)
    os.close(kept)
    os.write(say_ready, b"x")
    os.read(over, 1)
    os._exit(0)
os.read(ready, 1)
landlock.restrict_to(made)
try:
    os.kill(brother, 0)
except PermissionError:
    print("apart")
"""


def test_processes_that_share_a_ruleset_can_not_signal_each_other() -> None:
    """The zygote makes one ruleset for all its sealed children; each of them makes a domain of its own from it."""
    argv = [sys.executable, "-c", BROTHERS]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=HERE.parents[1], check=False, timeout=240)
    assert done.stdout.strip() == "apart", done.stderr


def simulate(program: bytes, machine: str, number: int, *args: int) -> int:
    """Run a classic BPF program on one system call's data."""
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    words = {0: number, 4: architecture}
    for i in range(6):
        value = args[i] if i < len(args) else 0
        words[16 + 8 * i], words[20 + 8 * i] = value & 0xFFFFFFFF, value >> 32
    place = accumulator = 0
    while True:
        raw = program[8 * place : 8 * place + 8]
        code, true, false = int.from_bytes(raw[:2], "little"), raw[2], raw[3]
        k = int.from_bytes(raw[4:], "little")
        place += 1
        if code == 0x20:
            accumulator = words[k]
        elif code == 0x54:
            accumulator &= k
        elif code == 0x05:
            place += k
        elif code == 0x15:
            place += true if accumulator == k else false
        elif code == 0x35:
            place += true if accumulator >= k else false
        else:
            return k
