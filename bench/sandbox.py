"""What confinement costs: a trivial tool in each tier, beside a bare subprocess and bubblewrap; and the other goals.

Run with `python -m bench.sandbox [--calls N] [--races N]`. Goals: a trivial tool at p50 in at most 1 ms and at p99 in
at most 10 ms at T1 and T2, at least 150 calls a second, at most 4 MB a standby child, a deadline overrun of at most
100 ms, a cancelled call over within 100 ms, no escape in 100,000 races. Figures stand beside the machine's load: a busy
one makes all of them worse.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents import sandbox
from agents.sandbox import FilesystemSandbox, ResourceLimits, SandboxCall, SandboxPolicy, Succeeded, Tier
from agents.tools.base import Deadline, Tool, ToolContext
from agents.tools.calculator import Calculator
from agents.tools.files import FileAccess, Grant, ToolError
from agents.tools.read_file import ReadFile
from agents.tools.run_python import RunPython
from approvals.types import Permit

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "print(1 + 1)"
PACE = 0.01


def permit_for(call: SandboxCall) -> Permit:
    return Permit(
        id=uuid.uuid4(),
        tenant_id=1,
        run_id=uuid.uuid4(),
        call_id=call.call_id,
        tool=call.tool,
        arguments_digest=sandbox.arguments_digest(call.arguments),
        digest="",
        nonce=uuid.uuid4().hex,
        gate_id=None,
        expires_at=datetime.now(UTC) + timedelta(minutes=5),
    )


def call_of(tool: type[Tool[Any, Any]], **arguments: Any) -> SandboxCall:
    return SandboxCall(
        call_id=uuid.uuid4().hex,
        tool=tool.name,
        entrypoint=f"{tool.__module__}:{tool.__name__}",
        arguments=arguments,
        permissions=frozenset(tool.permissions),
        trusted_in_process=False,
        result_schema=tool.Result.model_json_schema(),
    )


def timed(what: Callable[[], object], calls: int) -> list[float]:
    """Milliseconds of each call, one at a time, with a pause between them as between an agent's calls."""
    found = []
    for _ in range(calls):
        started = time.perf_counter()
        what()
        found.append((time.perf_counter() - started) * 1000)
        time.sleep(PACE)
    return found


def line(name: str, milliseconds: list[float]) -> None:
    cut = statistics.quantiles(milliseconds, n=100)
    best = min(milliseconds)
    print(f"{name:<46}{cut[49]:>9.2f}{cut[89]:>9.2f}{cut[98]:>9.2f}{best:>9.2f}   load {os.getloadavg()[0]:.1f}")


def program(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def peers(calls: int) -> None:
    python = [sys.executable, "-I", "-S", "-c", PROGRAM]
    line("subprocess python -I -S, no lock", timed(lambda: program(python), calls))
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        print("bubblewrap + python: bwrap is not installed here")
        return
    argv = [bubblewrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", *python]
    line("bubblewrap + python -I -S", timed(lambda: program(argv), calls))


Prepared = tuple[Permit, SandboxCall]


def run(prepared: Prepared, policy: SandboxPolicy) -> None:
    outcome = sandbox.run(*prepared, policy)
    assert isinstance(outcome, Succeeded), outcome


def tier(ceiling: Tier, calls: int, folder: str) -> None:
    if sandbox.start(ceiling=ceiling).tier is not ceiling:
        print(f"{ceiling}: not on this machine")
        return
    Path(folder, "a.txt").write_text("hello")
    policy = SandboxPolicy(filesystem=FilesystemSandbox(sandbox_root=folder))
    tools: dict[str, list[SandboxCall]] = {
        "calculator": [call_of(Calculator, expression="1 + 1") for _ in range(calls)],
        "read_file": [call_of(ReadFile, path="a.txt") for _ in range(calls)],
        "run_python": [call_of(RunPython, code="print(1 + 1)") for _ in range(calls)],
    }
    for name, prepared in tools.items():
        waiting = iter([(permit_for(call), call) for call in prepared])
        line(f"{ceiling} {name}", timed(lambda waiting=waiting: run(next(waiting), policy), calls))  # type: ignore[misc]
    for threads in (1, 8):
        ready = [(permit_for(call), call) for call in (call_of(Calculator, expression="1") for _ in range(calls))]
        started = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda prepared: run(prepared, policy), ready))
        rate = calls / (time.perf_counter() - started)
        print(f"{ceiling} calls a second, {threads} thread(s): {rate:.0f}   load {os.getloadavg()[0]:.1f}")
    standbys()
    deadlines(policy)
    cancellations(policy)
    sandbox.stop()


def standbys() -> None:
    """Memory that the waiting children have to themselves, once they are ready."""
    time.sleep(0.5)
    own = [_private(pid) for pid in _descendants(os.getpid()) if _descendants(pid) == set()]
    own = [kilobytes for kilobytes in own if kilobytes]
    if own:
        print(f"private memory of a standby child: {statistics.median(own) / 1024:.1f} MB ({len(own)} waiting)")


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found |= {int(child)} | _descendants(int(child))
    return found


def _private(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(row.split()[1]) for row in text.splitlines() if row.startswith("Private_Dirty"))


def deadlines(policy: SandboxPolicy) -> None:
    """How much longer than its deadline a call that never ends takes to be over."""
    limits = ResourceLimits(timeout=0.3, cpu_seconds=10)
    late = []
    for _ in range(20):
        call = call_of(RunPython, code="import time\ntime.sleep(60)")
        started = time.perf_counter()
        sandbox.run(permit_for(call), call, policy.model_copy(update={"limits": limits}))
        late.append((time.perf_counter() - started - limits.timeout) * 1000)
    print(f"overrun of a deadline: median {statistics.median(late):.0f} ms, worst of 20 {max(late):.0f} ms")


def cancellations(policy: SandboxPolicy) -> None:
    """How long after it was cancelled a call is over, its process dead."""
    late = []
    for _ in range(20):
        call = call_of(RunPython, code="import time\ntime.sleep(60)")
        cancelled = threading.Event()
        at: list[float] = []

        def cancel(cancelled: threading.Event = cancelled, at: list[float] = at) -> None:
            at.append(time.perf_counter())
            cancelled.set()

        threading.Timer(0.2, cancel).start()
        sandbox.run(permit_for(call), call, policy, cancelled=cancelled.is_set)
        late.append((time.perf_counter() - at[0]) * 1000)
    print(f"a cancelled call is over: median {statistics.median(late):.0f} ms, worst of 20 {max(late):.0f} ms later")


def races(count: int, folder: str) -> None:
    """Opens through the file helper while another thread swaps the name between a file and a link to a secret."""
    inside, secret = Path(folder, "target"), Path(folder, "secret")
    root = Path(folder, "root")
    root.mkdir()
    inside = root / "target"
    inside.write_text("inside")
    secret.write_text("outside")
    stop = threading.Event()

    def swap() -> None:
        link, spare = root / "link", root / "spare"
        while not stop.is_set():
            link.symlink_to(secret)
            inside.rename(spare)
            link.rename(inside)
            inside.unlink()
            spare.rename(inside)

    swapper = threading.Thread(target=swap)
    swapper.start()
    files = ToolContext(FileAccess(str(root), (Grant(str(root), writable=True),)), Deadline.after(600)).files
    escaped = refused = 0
    for _ in range(count):
        try:
            escaped += files.read_bytes("target", 100)[0] == b"outside"
        except (ToolError, OSError):
            refused += 1
    stop.set()
    swapper.join()
    print(f"symlink race: {escaped} escapes in {count} opens ({refused} refused or missing)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--races", type=int, default=100_000)
    options = parser.parse_args()
    report = sandbox.probe()
    print(
        f"{report.kernel}, Landlock ABI {report.landlock_abi}, Python {sys.version.split()[0]}, {os.cpu_count()} cores"
    )
    print(f"{'one call, milliseconds':<46}{'p50':>9}{'p90':>9}{'p99':>9}{'best':>9}")
    context = ToolContext(FileAccess("/", ()), Deadline.after(600))
    line("same process", timed(lambda: Calculator().execute({"expression": "1 + 1"}, context), options.calls))
    peers(max(20, options.calls // 10))
    for ceiling in (Tier.T2, Tier.T1):
        with tempfile.TemporaryDirectory() as folder:
            tier(ceiling, options.calls, folder)
    with tempfile.TemporaryDirectory() as folder:
        races(options.races, folder)


if __name__ == "__main__":
    main()
