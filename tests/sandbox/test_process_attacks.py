"""Attacks P1 to P29: no program, no other process, no more resources, and nothing but one answer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.conftest import Host

SHORT = {"limits": {"timeout": 20, "cpu_seconds": 1, "memory_mb": 128}}


def eventually(condition: Any, seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for child in children(pid):
        found |= {child} | descendants(child)
    return found


def children(pid: int) -> set[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    found: set[int] = set()
    for told in lists:
        # One that ends meanwhile has none any more.
        with contextlib.suppress(OSError):
            found |= set(map(int, told.read_text().split()))
    return found


def test_p1_the_environment_holds_nothing_of_ours(host: Host) -> None:
    found = host.run("environment").value
    assert set(found) <= {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ"}
    assert "canary" not in str(found)


def test_p2_no_secret_in_memory(host: Host) -> None:
    # The host's own environment holds the canary; a forked worker would have handed it down.
    assert host.run("find_in_memory", pattern="canary-in-the-" + "environment").value == 0


@pytest.mark.parametrize("module", ["routekit_site.settings", "tests.settings", "manage"])
def test_p3_the_settings_can_not_be_imported(host: Host, module: str) -> None:
    assert host.run("import_module", name=module).value != "IMPORTED"


def test_p4_p6_p17_p19_no_program_and_no_process(host: Host) -> None:
    outcome = host.run("run_programs")
    said = outcome.value
    assert said.pop("clone3") == "ENOSYS"
    assert set(said.values()) == {"EPERM"}
    assert {"process"} <= {v.attack_class for v in outcome.violations}


def test_p5_thread_bomb(host: Host) -> None:
    outcome = host.run("threads", count=5000, policy=SHORT)
    assert outcome.value < 500
    assert host.run("threads", count=3).value == 3


def test_p5_thread_bomb_with_small_stacks(host: Host) -> None:
    outcome = host.run("small_threads", count=2000)
    assert (outcome.kind, outcome.violations[0].attack_class) == ("resources", "resources")
    assert "64 threads" in outcome.message


@pytest.mark.parametrize("how", ["bytearray", "mmap", "list"])
def test_p7_memory_bomb(host: Host, how: str) -> None:
    outcome = host.run("memory", how=how, policy={"limits": {"timeout": 60, "memory_mb": 128}})
    assert outcome.kind == "resources" if not outcome.succeeded else outcome.value == "ENOMEM"
    assert host.run("fine").value == "fine"


@pytest.mark.parametrize(("attack", "args"), [("spin", {}), ("regex", {}), ("spin", {"ignore": True})])
def test_p8_p9_processor_time(host: Host, attack: str, args: dict[str, Any]) -> None:
    policy = {"limits": {"timeout": 60, "cpu_seconds": 1}}
    outcome = host.run(attack, policy=policy, **args)
    assert outcome.kind == "resources"
    assert "1 seconds of processor time" in outcome.message
    assert outcome.usage.cpu_seconds < 3.5


def test_p10_the_deadline(host: Host) -> None:
    outcome = host.run("sleep", seconds=30, policy={"limits": {"timeout": 0.5}})
    assert (outcome.kind, outcome.retryable) == ("timeout", True)
    assert outcome.usage.wall_seconds < 25


@pytest.mark.parametrize("how", ["segv", "exit", "abort", "close"])
def test_p11_a_crash_is_this_calls_own(host: Host, how: str) -> None:
    outcome = host.run("die", how=how)
    assert outcome.kind == "killed"
    assert host.run("fine").value == "fine"


@pytest.mark.parametrize("how", ["sys_exit", "recursion"])
def test_p11_leaving_python_the_hard_way(host: Host, how: str) -> None:
    assert host.run("die", how=how).kind in ("tool_error", "killed")


def test_p12_descriptor_bomb(host: Host) -> None:
    assert host.run("open_many").value == "EMFILE"


def test_p13_own_limits_can_not_be_raised(host: Host) -> None:
    outcome = host.run("raise_limits")
    assert outcome.value["prlimit"] == "EPERM"
    assert outcome.value["setrlimit"] in ("ValueError", "PermissionError")
    assert {v.attack_class for v in outcome.violations} == {"resources"}


def test_p14_p16_other_processes(host: Host) -> None:
    said = host.run("touch_others", pid=host.pid).value
    assert {k: v for k, v in said.items() if v not in ("EPERM", "EACCES", "ENOENT")} == {}


def test_p17_p18_kernel_calls(host: Host) -> None:
    said = host.run("kernel_calls").value
    assert said.pop("unknown") == "ENOSYS"
    assert set(said.values()) == {"EPERM"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 is x86_64's")
def test_foreign_system_calls_kill(host: Host) -> None:
    outcome = host.run("x32")
    assert outcome.kind == "violation"
    assert outcome.violations[0].attack_class == "process"


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("pickle", "invalid_result"),
        ("huge", "result_too_large"),
        ("huge_value", "result_too_large"),
        ("deep", "invalid_result"),
        ("nested", "invalid_result"),
        ("nan", "invalid_result"),
        ("latin", "invalid_result"),
        ("list", "invalid_result"),
        ("wrong_shape", "invalid_result"),
        ("bad_head", "invalid_result"),
        ("lying_usage", "invalid_result"),
    ],
)
def test_p21_p22_forged_answers(host: Host, what: str, kind: str) -> None:
    outcome = host.run("forge", what=what)
    assert outcome.kind == kind
    assert not Path("/tmp/routekit-pickled").exists()  # noqa: S108 -- what the pickle would make


def test_p22_results_are_bounded(host: Host) -> None:
    policy = {"limits": {"max_result_kb": 10}}
    assert host.run("large", size=9_000, policy=policy).succeeded
    outcome = host.run("large", size=20_000, policy=policy)
    assert (outcome.kind, outcome.message) == ("result_too_large", "The result is larger than 10 KB.")


@pytest.mark.parametrize("what", ["surrogate", "object", "bytes"])
def test_p22_results_that_are_not_json(host: Host, what: str) -> None:
    assert host.run("odd", what=what).kind in ("invalid_result", "tool_error")


def test_p24_output_is_captured_capped_and_escaped(host: Host) -> None:
    outcome = host.run("flood")
    assert outcome.value == "done"
    assert len(outcome.output) < 20_000
    assert "more characters" in outcome.output
    injected = host.run("inject")
    assert "\x1b" not in injected.output
    assert "\x1b" not in injected.message
    assert "\r" not in injected.output
    assert "\\x1b[31mred" in injected.output


def test_p24_the_message_is_one_line(host: Host) -> None:
    assert "\n" not in host.run("inject").message


@pytest.mark.parametrize("kind", ["value", "sly", "base", "stop"])
def test_exceptions_of_any_kind_are_answers(host: Host, kind: str) -> None:
    outcome = host.run("raising", kind=kind)
    assert (outcome.kind, outcome.retryable) == ("tool_error", False)


def test_p25_nothing_outlives_the_call(host: Host, root: Path, files: dict[str, Any]) -> None:
    assert host.run("persist", path=f"{root}/alive", **files).value == "answered"
    assert not eventually((root / "alive").exists, 0.8)


def test_p26_the_next_call_is_not_poisoned(host: Host) -> None:
    assert host.run("poison").succeeded
    assert host.run("poisoned").value is False


@pytest.mark.parametrize("tier", ["T2", "T1"])
def test_p27_a_killed_worker_leaves_nothing(tier: str) -> None:
    own = Host.start(tier)
    try:
        assert own.run("fine").value == "fine"
        own.process.stdin.write(  # type: ignore[union-attr]
            '{"id": 99, "tool": "attack", "entrypoint": "tests.sandbox.attacks:Attack", "arguments": {"name": "sleep", '
            '"args": {"seconds": 60}}, "permissions": [], "schema": {}, "policy": {}, "tenant": 1}\n'
        )
        own.process.stdin.flush()  # type: ignore[union-attr]
        assert eventually(lambda: len(descendants(own.pid)) >= 3)
        family = descendants(own.pid)
        os.kill(own.pid, signal.SIGKILL)
        own.process.wait(timeout=60)
        assert eventually(lambda: not any(alive(pid) for pid in family))
    finally:
        own.process.kill()
        for pipe in (own.process.stdin, own.process.stdout):
            assert pipe is not None
            pipe.close()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_p29_no_core_and_not_dumpable(host: Host) -> None:
    assert host.run("kernel_calls").value["prctl_dumpable"] == "EPERM"
    outcome = host.run("die", how="segv")
    assert "SIGSEGV" in outcome.message


def test_the_zygote_is_replaced_when_it_dies(host: Host) -> None:
    # Its standby children bear its name: killing one of them instead failed whatever test came next.
    zygotes = {p for p in children(host.pid) if b"zygote" in Path(f"/proc/{p}/cmdline").read_bytes()}
    assert len(zygotes) == 1
    for pid in zygotes:
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not any(alive(pid) for pid in zygotes))
    assert eventually(lambda: bool(host.run("fine").succeeded))


def test_the_result_of_time_out_is_not_left_running(host: Host) -> None:
    host.run("fine")
    assert eventually(lambda: len(descendants(host.pid)) > 2, 5)
    waiting = descendants(host.pid)
    outcome = host.run("sleep", seconds=30, policy={"limits": {"timeout": 0.2}})
    assert outcome.kind == "timeout"
    # One of the standby children that waited was given the call; it is the one that must be gone.
    assert eventually(lambda: not all(alive(pid) for pid in waiting), 5)


def test_t0_refuses_by_the_name_of_what_is_missing() -> None:
    code = (
        "from agents.sandbox import probing, landlock; landlock.abi = lambda: 0;"
        "f = (probing.Feature('landlock', available=False, detail='not in this kernel'),);"
        "probing._known.report = probing.Report(probing.tier_of(f), 'Old', 'x86_64', 0, f);"
        "from tests.sandbox import host; import json;"
        "print(json.dumps(host.serve({'tool': 'attack', 'entrypoint': 'tests.sandbox.attacks:Attack',"
        "'arguments': {'name': 'fine'}, 'permissions': [], 'schema': {}, 'policy': {}, 'tenant': 1})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert '"kind": "unenforceable"' in done.stdout
    assert "landlock: not in this kernel" in done.stdout
