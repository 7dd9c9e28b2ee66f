"""`run` itself: permits, cancellation, threads, forks, tools that were not imported ahead, and tier T0."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents import sandbox
from agents.sandbox import Failed, PermitError, SandboxCall, SandboxPolicy, Succeeded, Tier, launch, plan
from agents.sandbox.confined import Confined
from agents.sandbox.door import BUILT_IN
from agents.sandbox.pool import STANDBYS, Pool
from agents.sandbox.zygote import OPEN
from agents.tools.calculator import Calculator
from agents.tools.files import Grant
from agents.tools.read_file import ReadFile
from agents.tools.run_python import RunPython
from tests.sandbox.attacks import AttackResult
from tests.sandbox.host import permit_for
from tests.sandbox.probes import Echo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.tools.base import Tool

SOURCE = Path(__file__).parents[2]


@pytest.fixture(autouse=True, scope="module")
def stopped() -> Iterator[None]:
    yield
    sandbox.stop()


def call_of(tool: type[Tool[Any, Any]], *, trusted: bool = False, **arguments: Any) -> SandboxCall:
    return SandboxCall(
        call_id=str(uuid.uuid4()),
        tool=tool.name,
        entrypoint=f"{tool.__module__}:{tool.__name__}",
        arguments=arguments,
        permissions=frozenset(tool.permissions),
        trusted_in_process=trusted,
        result_schema=tool.Result.model_json_schema(),
    )


def attack(name: str, **args: Any) -> SandboxCall:
    schema = AttackResult.model_json_schema()
    arguments = {"name": name, "args": args}
    return replace(bare("tests.sandbox.attacks:Attack"), tool="attack", arguments=arguments, result_schema=schema)


def bare(entrypoint: str) -> SandboxCall:
    return SandboxCall(
        call_id=str(uuid.uuid4()),
        tool="x",
        entrypoint=entrypoint,
        arguments={},
        permissions=frozenset(),
        trusted_in_process=False,
        result_schema={},
    )


def run(call: SandboxCall, policy: SandboxPolicy | None = None, **more: Any) -> sandbox.Outcome:
    return sandbox.run(permit_for(call), call, policy or SandboxPolicy(), **more)


def children_of(pid: int) -> set[int]:
    found: set[int] = set()
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        # One that ends meanwhile has none any more.
        with contextlib.suppress(OSError):
            found |= set(map(int, each.read_text().split()))
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_call_runs_once_with_its_permit() -> None:
    call = call_of(Calculator, expression="6 * 7")
    permit = permit_for(call)
    outcome = sandbox.run(permit, call, SandboxPolicy())
    assert isinstance(outcome, Succeeded)
    assert outcome.value == {"result": "42"}
    assert {"landlock", "seccomp", "no_new_privs", "rlimits"} <= outcome.enforced
    assert outcome.usage.wall_seconds > 0
    assert outcome.usage.peak_memory_bytes > 1 << 20
    with pytest.raises(PermitError, match="used before"):
        sandbox.run(permit, call, SandboxPolicy())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"call_id": "another"}, "another call"),
        ({"tool": "delete_file"}, "another call"),
        ({"arguments_digest": "0" * 64}, "not those that were approved"),
        ({"expires_at": datetime.now(UTC) - timedelta(seconds=1)}, "expired"),
    ],
)
def test_n37_any_other_permit_is_refused(change: dict[str, Any], words: str) -> None:
    call = call_of(Calculator, expression="1")
    with pytest.raises(PermitError, match=words):
        sandbox.run(replace(permit_for(call), **change), call, SandboxPolicy())


def test_n37_changed_arguments_are_refused() -> None:
    call = call_of(Calculator, expression="1")
    with pytest.raises(PermitError, match="not those that were approved"):
        sandbox.run(permit_for(call), replace(call, arguments={"expression": "2"}), SandboxPolicy())


def test_one_permit_from_many_threads_runs_once() -> None:
    call = call_of(Calculator, expression="1")
    permit = permit_for(call)

    def attempt(_: int) -> bool:
        try:
            return isinstance(sandbox.run(permit, call, SandboxPolicy()), Succeeded)
        except PermitError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1


def test_many_threads_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: run(call_of(Calculator, expression=f"{i} + 1")), range(40)))
    assert [o.value["result"] for o in found if isinstance(o, Succeeded)] == [str(i + 1) for i in range(40)]


def test_cancelling_kills_the_child() -> None:
    asked = threading.Event()

    def cancelled() -> bool:
        asked.set()
        return True

    outcome = run(attack("sleep", seconds=60), cancelled=cancelled)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.retryable) == ("cancelled", False)
    assert asked.is_set()


def test_a_child_that_dribbles_its_answer_can_be_cancelled() -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    outcome = run(attack("dribble"), SandboxPolicy(), cancelled=stop.is_set)
    assert isinstance(outcome, Failed)
    assert outcome.kind == "cancelled"


def test_a_child_that_dribbles_its_answer_is_held_to_its_quota(tmp_path: Path) -> None:
    folder = tmp_path / "root"
    policy = SandboxPolicy(
        filesystem=sandbox.FilesystemSandbox(sandbox_root=str(folder)),
        limits=sandbox.ResourceLimits(max_files=20, timeout=20),
    )
    call = replace(attack("dribble", folder=str(folder)), permissions=frozenset({"filesystem"}))
    outcome = run(call, policy)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, "20 files" in outcome.message) == ("resources", True)


def test_a_call_meets_living_children_when_those_that_waited_were_killed() -> None:
    def standbys() -> set[int]:
        zygotes = {pid for pid in children_of(os.getpid()) if b"agents.sandbox.zygote" in command_line(pid)}
        return {child for zygote in zygotes for child in children_of(zygote)}

    assert isinstance(run(call_of(Calculator, expression="1")), Succeeded)
    until = time.monotonic() + 120
    while len(waiting := standbys()) < sum(STANDBYS.values()):
        assert time.monotonic() < until, "the zygote did not fill its places"
    for pid in waiting:
        os.kill(pid, signal.SIGKILL)
    while waiting & standbys():
        assert time.monotonic() < until, "the zygote did not bury its dead"
    assert isinstance(run(call_of(Calculator, expression="1")), Succeeded)


@pytest.mark.parametrize("namespaces", [False, True])
def test_a_folder_that_was_lost_since_the_worker_looked(tmp_path: Path, *, namespaces: bool) -> None:
    report = sandbox.probe()
    if namespaces and report.tier is not Tier.T2:
        pytest.skip("this machine does not allow namespaces")
    (tmp_path / "file").write_text("x")
    policy = SandboxPolicy(filesystem=sandbox.FilesystemSandbox(sandbox_root=str(tmp_path / "root")))
    made = plan.make(call_of(ReadFile, path="a"), policy, report, frozenset(BUILT_IN))
    assert isinstance(made, plan.Plan)
    lost = replace(made, grants=(Grant(str(tmp_path / "file" / "below"), writable=False),))
    pool = Pool.start(namespaces=namespaces, preload=BUILT_IN)
    try:
        with contextlib.closing(pool.take(OPEN)) as child:
            outcome = Confined(lost, 1, child, pool.address_space, pool.obituary, None).run("")
    finally:
        pool.stop()
    assert isinstance(outcome, Failed)
    assert (outcome.kind, outcome.retryable) == ("unenforceable", False)
    assert "nothing was run" in outcome.message


def test_a_tool_that_was_not_imported_ahead_runs_inside_the_locks() -> None:
    outcome = run(call_of(Echo, text="hello"))
    assert isinstance(outcome, Succeeded)
    assert outcome.value["text"] == "hello"
    missing = bare("tests.no_such_module:X")
    failed = run(missing)
    assert isinstance(failed, Failed)
    assert "can't be loaded" in failed.message
    nowhere = bare("no_such_package_at_all:X")
    assert run(nowhere).kind == "refused"  # type: ignore[union-attr]
    no_tool = bare("json:JSONDecoder")
    assert "is not a tool" in run(no_tool).message  # type: ignore[union-attr]


def test_a_trusted_tool_runs_in_this_process() -> None:
    outcome = run(call_of(Echo, trusted=True, text="x"))
    assert isinstance(outcome, Succeeded)
    assert (outcome.value["thread"], outcome.tier) == (threading.get_ident(), Tier.IN_PROCESS)
    wrong = replace(call_of(Echo, trusted=True, text="x"), result_schema={"type": "string"})
    assert run(wrong).kind == "invalid_result"  # type: ignore[union-attr]
    assert run(call_of(Echo, trusted=True)).kind == "invalid_arguments"  # type: ignore[union-attr]


@pytest.mark.parametrize("permission", ["database", "secrets", "subprocess"])
def test_permissions_that_the_sandbox_does_not_give(permission: str) -> None:
    outcome = run(replace(call_of(Calculator, expression="1"), permissions=frozenset({permission})))
    assert outcome.kind == "unenforceable"  # type: ignore[union-attr]
    assert permission in outcome.message  # type: ignore[union-attr]


def test_arguments_and_results_are_checked() -> None:
    assert run(call_of(Calculator, expr="1")).kind == "invalid_arguments"  # type: ignore[union-attr]
    narrow = replace(call_of(Calculator, expression="1"), result_schema={"properties": {"result": {"type": "integer"}}})
    outcome = run(narrow)
    assert isinstance(outcome, Failed)
    assert (outcome.kind, "result" in outcome.message) == ("invalid_result", True)


def test_a_forked_process_has_a_zygote_of_its_own() -> None:
    assert isinstance(run(call_of(Calculator, expression="1")), Succeeded)
    program = (
        "import os, sys; from tests.sandbox.test_run import *;"
        "assert isinstance(run(call_of(Calculator, expression='1')), Succeeded);"
        "pids = [];\n"
        "for i in range(2):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        ok = isinstance(run(call_of(Calculator, expression='2')), Succeeded)\n"
        "        sandbox.stop(); os._exit(0 if ok else 1)\n"
        "    pids.append(pid)\n"
        "codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]\n"
        "again = isinstance(run(call_of(Calculator, expression='3')), Succeeded)\n"
        "print(codes, again)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=SOURCE, check=False)
    assert done.stdout.strip() == "[0, 0] True", done.stderr


def test_a_zygote_holds_the_inside_half_only() -> None:
    """What it has in memory, every fork copies the page tables of."""
    program = (
        f"{launch.BOOT}import importlib, agents.sandbox.zygote\n"
        f"for name in {BUILT_IN!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    argv = [sys.executable, "-I", "-S", "-c", program, json.dumps(launch.code_path())]
    held = set(json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout))
    assert {"agents.sandbox.child", *BUILT_IN, "httpx"} <= held
    assert not held & {
        "agents.sandbox.door",
        "agents.sandbox.results",
        "approvals.types",
        "jsonschema",
        "traces",
        "django",
    }


PRACTICE = """
import sys
from agents.sandbox import child, witness

out, err = sys.stdout, sys.stderr
child.practise()
open("/etc/hostname")
quiet = list(witness.report.seen)
witness.report.watch(())
open("/etc/hostname")
print([sys.stdout is out, sys.stderr is err, quiet, [each.detail for each in witness.report.seen]])
"""


def test_a_zygote_that_practises_keeps_its_streams_and_notes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PRACTICE], capture_output=True, text=True, cwd=SOURCE, check=False)
    assert done.stdout.strip() == "[True, True, [], ['open /etc/hostname']]", done.stderr


def test_run_python_sees_its_scratch_folder_only(tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("the agent's own")
    policy = SandboxPolicy(filesystem=sandbox.FilesystemSandbox(sandbox_root=str(tmp_path / "root")))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "mine.txt").write_text("the agent's own")
    code = (
        "import os\nprint(os.listdir())\nopen('made', 'w').write('x')\nresult = 6 * 7\n"
        f"try:\n    open({str(tmp_path / 'root' / 'mine.txt')!r}).read()\n"
        "except OSError as e:\n    print('no:', e.errno)\n"
        "import math, json, statistics, datetime, decimal, re, csv, random, itertools, collections, hashlib\n"
    )
    outcome = run(call_of(RunPython, code=code), policy)
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.value["result"] == "42"
    assert outcome.value["error"] is None
    assert outcome.value["files"] == ["made"]
    assert outcome.value["output"].startswith("[]\nno: ")
    failed = run(call_of(RunPython, code="1 / 0"), policy)
    assert isinstance(failed, Succeeded)
    assert "ZeroDivisionError" in failed.value["error"]


BEST_EFFORT = """
import json, os, sys
from agents import sandbox
from agents.tools.read_file import ReadFile
from agents.tools.write_file import WriteFile
from tests.sandbox.test_run import *
sandbox.start(ceiling=Tier.T0)
policy = SandboxPolicy(require=sys.argv[1], filesystem=sandbox.FilesystemSandbox(sandbox_root=sys.argv[2]))
os.environ["ROUTEKIT_CANARY"] = "canary"
print(json.dumps([
    [type(o).__name__, str(getattr(o, "value", "")), str(getattr(o, "kind", "")), str(o.tier)]
    for o in (
        run(call_of(WriteFile, path="a.txt", text="hello"), policy),
        run(call_of(ReadFile, path="a.txt"), policy),
        run(call_of(ReadFile, path="/etc/passwd"), policy),
        run(call_of(RunPython, code="print(1)"), policy),
        run(attack("environment"), policy),
        run(attack("spin"), SandboxPolicy(require=sys.argv[1], limits={"timeout": 2})),
        run(attack("forge", what="pickle"), policy),
    )
]))
"""


def t0(require: str, folder: Path) -> list[list[str]]:
    argv = [sys.executable, "-c", BEST_EFFORT, require, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=SOURCE, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_n38_t0_refuses_by_default(tmp_path: Path) -> None:
    assert {(name, kind, tier) for name, _, kind, tier in t0("kernel", tmp_path)} == {("Failed", "unenforceable", "T0")}


def test_t0_best_effort(tmp_path: Path) -> None:
    write, read, outside, python, environment, spin, pickled = t0("best_effort", tmp_path)
    assert write[0] == "Succeeded"
    assert (read[0], "hello" in read[1], read[3]) == ("Succeeded", True, "T0")
    assert outside[2] == "violation"
    assert python[2] == "unenforceable"
    assert "canary" not in environment[1]
    assert spin[2] == "timeout"
    assert pickled[2] == "invalid_result"


def test_scratch_folders_of_killed_workers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine, theirs = tmp_path / f"routekit-scratch-{os.getpid()}-x", tmp_path / f"routekit-scratch-{gone.pid}-x"
    for folder in (mine, theirs):
        folder.mkdir()
        (folder / "left").write_text("x")
    sandbox.start()
    assert [p.name for p in tmp_path.iterdir()] == [mine.name]


def test_start_is_idempotent_and_stop_too() -> None:
    report = sandbox.start()
    assert sandbox.start() == report
    sandbox.stop()
    sandbox.stop()
    assert isinstance(run(call_of(Calculator, expression="1")), Succeeded)


OTHER_SYSTEM = """
import platform, sys
import certifi, httpcore, httpx, jsonschema, pydantic, redis, ssrfguard, tempfile, urllib.request
import approvals.types
sys.platform, platform.system, platform.machine = "darwin", lambda: "Darwin", lambda: "arm64"
from agents import sandbox
report = sandbox.start()
print(report.tier, report.missing[0].name, report.missing[0].detail)
"""


def test_other_systems_import_the_sandbox_and_are_told_what_they_lack() -> None:
    argv = [sys.executable, "-c", OTHER_SYSTEM]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=SOURCE, check=False)
    assert done.stdout.startswith("T0 landlock the kernel tiers need Linux"), done.stderr
