"""The numbers in the tables against the kernel's own headers, and each filter asked about every call it knows.

aarch64 is checked here on any machine: its numbers come from the preprocessed generic table, its filter is simulated.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agents.sandbox import seccomp
from agents.sandbox.seccomp_rules import ALLOWED, CONDITIONAL, REFUSED, Never, Only
from agents.sandbox.syscall_table import AARCH64, BY_MACHINE, X86_64
from tests.sandbox.test_rules import simulate

ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
# What arch/arm64/include/uapi/asm/unistd.h defines before it takes over the generic table.
WANTED = ("RENAMEAT", "NEW_STAT", "SET_GET_RLIMIT", "TIME32_SYSCALLS", "SYS_CLONE3", "MEMFD_SECRET")
SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("asm/unistd_64.h", ()),
    "aarch64": ("asm-generic/unistd.h", (*(f"-D__ARCH_WANT_{name}" for name in WANTED), "-D__BITS_PER_LONG=64")),
}
# Calls newer than the headers that distributions of today ship.
NEWER_THAN_HEADERS = {"fchmodat2"}


def numbers_in_headers(machine: str) -> dict[str, int]:
    """Call numbers by name, as the preprocessor sees them."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    header, options = SOURCES[machine]
    if compiler is None:
        pytest.skip("no C preprocessor here")
    argv = [compiler, "-E", "-dM", "-x", "c", *options, "-"]
    done = subprocess.run(argv, input=f"#include <{header}>\n", capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the kernel's headers are not installed here ({header})")
    defined = dict(re.findall(r"#define (__NR\w+) (\w+)", done.stdout))

    def resolved(value: str) -> int:
        return int(value) if value.isdigit() else resolved(defined[value])

    return {name.removeprefix("__NR_"): resolved(value) for name, value in defined.items() if name.startswith("__NR_")}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    told = numbers_in_headers(machine)
    table = BY_MACHINE[machine]
    assert len(told) > 250
    assert {name: (number, told.get(name)) for name, number in table.items() if told.get(name) != number}.keys() <= (
        NEWER_THAN_HEADERS
    )


def test_aarch64_lacks_only_what_that_machine_does_not_have() -> None:
    told = numbers_in_headers("aarch64")
    lacking = set(X86_64) - set(AARCH64)
    assert lacking & set(told) == set()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_each_filter_says_of_every_number_what_the_rules_say(machine: str) -> None:
    program, table = seccomp.assemble(machine=machine, pid=7), BY_MACHINE[machine]
    said = {number: simulate(program, machine, number, *[0xDEADBEEF] * 6) for number in range(600)}
    expected = dict.fromkeys(range(600), ENOSYS)
    expected |= {table[name]: ALLOW for name in ALLOWED if name in table}
    expected |= {table[name]: EPERM for name in REFUSED if name in table}
    conditional = {table[name] for name in CONDITIONAL if name in table}
    assert {n: v for n, v in said.items() if n not in conditional and v != expected[n]} == {}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", sorted(CONDITIONAL))
def test_each_condition_lets_through_what_it_names_and_nothing_beside_it(machine: str, name: str) -> None:
    program, table = seccomp.assemble(machine=machine, pid=7), BY_MACHINE[machine]
    if name not in table:
        assert machine == "aarch64"
        return
    good = [0] * 6
    for condition in CONDITIONAL[name]:
        value = 7 if condition.values[0] == -1 else condition.values[0]
        good[condition.argument] = value if isinstance(condition, Only) else 0
    assert simulate(program, machine, table[name], *good) == ALLOW
    for condition in CONDITIONAL[name]:
        for bad in _outside(condition):
            attempt = list(good)
            attempt[condition.argument] = bad
            assert simulate(program, machine, table[name], *attempt) == EPERM, (name, hex(bad))


def _outside(condition: Only | Never) -> list[int]:
    """Arguments that the condition must refuse."""
    if isinstance(condition, Never):
        return [value | 1 << 40 for value in condition.values]
    allowed = {7 if value == -1 else value for value in condition.values}
    near = {value + 1 for value in allowed} | {value ^ 0x80 for value in allowed} | {0x7FFFFFFF}
    high = {value | 1 << 32 for value in allowed} if condition.wide else set()
    return sorted(v for v in near | high if v & condition.mask not in allowed or v > 0xFFFFFFFF)


def test_the_headers_are_found_where_they_are_installed() -> None:
    if Path("/usr/include/asm-generic/unistd.h").exists() and shutil.which("gcc"):
        assert numbers_in_headers("aarch64")["openat"] == 56
