"""What this machine can enforce: found by trying, in a clean process, not by reading version numbers."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agents.sandbox import landlock, lockdown, namespaces, seccomp, syscalls
from agents.sandbox.errors import SandboxUnavailableError
from agents.sandbox.launch import clean_environment, code_path, python
from agents.sandbox.outcome import Tier

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT = 120
_BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from agents.sandbox.probing import report_to_stdout; report_to_stdout()"
)


@dataclass(frozen=True)
class Feature:
    """One thing the kernel does for the sandbox, whether it does here, and why not."""

    name: str
    available: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """What `probe` found. `enforced` names what holds in `tier`; `missing` says what keeps the next tier away."""

    tier: Tier
    kernel: str
    machine: str
    landlock_abi: int
    features: tuple[Feature, ...]

    @functools.cached_property
    def enforced(self) -> frozenset[str]:
        if self.tier is Tier.T0:
            return frozenset({"rlimits"})
        names = {f.name for f in self.features if f.available and f.name != "namespaces"}
        return frozenset(names | {"rlimits"} | ({"namespaces"} if self.tier is Tier.T2 else set()))

    @functools.cached_property
    def missing(self) -> tuple[Feature, ...]:
        return tuple(f for f in self.features if not f.available)

    def as_dict(self) -> dict[str, object]:
        return {
            "tier": str(self.tier),
            "kernel": self.kernel,
            "machine": self.machine,
            "landlock_abi": self.landlock_abi,
            "enforced": sorted(self.enforced),
            "features": [asdict(f) for f in self.features],
        }


def tier_of(features: tuple[Feature, ...]) -> Tier:
    """The strongest tier that these features make."""
    available = {f.name for f in features if f.available}
    if not {"landlock", "seccomp", "no_new_privs"} <= available:
        return Tier.T0
    return Tier.T2 if "namespaces" in available else Tier.T1


class _Known:
    """The report of this process, once there is one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.report: Report | None = None

    def after_fork(self) -> None:
        """In a forked process: the lock may have been held by a thread that does not exist here."""
        self.lock = threading.Lock()


_known = _Known()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_known.after_fork)


def probe(*, fresh: bool = False) -> Report:
    """What this machine can enforce; asked once in a process unless `fresh`.

    Raises:
        SandboxUnavailableError: it could not be found out; the next call asks again.
    """
    with _known.lock:
        if fresh or _known.report is None:
            _known.report = _probe()
        return _known.report


def _probe() -> Report:
    kernel = f"{platform.system()} {platform.release()}"
    if not syscalls.supported():
        detail = f"the kernel tiers need Linux on x86_64 or aarch64, this is {kernel} on {syscalls.MACHINE}"
        missing = Feature("landlock", available=False, detail=detail)
        return Report(Tier.T0, kernel, syscalls.MACHINE, 0, (missing,))
    found = _asked()
    features = tuple(Feature(name, ok, detail) for name, ok, detail in found["features"])
    return Report(tier_of(features), kernel, syscalls.MACHINE, found["abi"], features)


def _asked() -> dict[str, Any]:
    """What the clean process says; where it fails, that Landlock is missing and why.

    Raises:
        SandboxUnavailableError: it did not answer, which tells of the load of the machine and not of its kernel.
    """
    argv = [python(), "-I", "-S", "-c", _BOOT, json.dumps(code_path())]
    try:
        done = subprocess.run(  # noqa: S603 -- our own interpreter and code
            argv, env=clean_environment(), cwd="/", capture_output=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        message = f"What this machine can enforce could not be found out within {_TIMEOUT} seconds; nothing was run."
        raise SandboxUnavailableError(message) from None
    except OSError as error:
        raise SandboxUnavailableError.at("What this machine can enforce could not be found out", error) from None
    if done.returncode < 0:
        raise SandboxUnavailableError("What this machine can enforce could not be found out: the probe was killed.")
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return {"abi": 0, "features": [["landlock", False, f"the probe itself failed: {' '.join(last)}"]]}
    return found


def report_to_stdout() -> None:
    """The inner half of `_probe`: try each feature in a child of its own, and print what happened as JSON."""
    abi = landlock.abi()
    tries: dict[str, Callable[[], None]] = {
        "no_new_privs": lambda: _ok(syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)),
        "landlock": _try_landlock,
        "seccomp": _try_seccomp,
        "namespaces": _try_namespaces,
    }
    features = []
    for name, attempt in tries.items():
        problem = _in_child(attempt)
        detail = problem or (f"ABI {abi}" if name == "landlock" else "")
        features.append([name, problem is None, detail])
    sys.stdout.write(json.dumps({"abi": abi, "features": features}))


def _ok(_result: int) -> None:
    """For a call whose result says nothing."""


def _try_landlock() -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict((), landlock.abi())
    _must_fail(lambda: os.open("/", os.O_RDONLY))


def _try_seccomp() -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(seccomp.assemble())
    _must_fail(lambda: os.kill(os.getpid(), 0))


def _try_namespaces() -> None:
    namespaces.enter()
    namespaces.build_root(lockdown.runtime_folders(sys.path))
    namespaces.own_mounts()
    namespaces.scratch(1, 10)
    namespaces.seal()


def _must_fail(attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except PermissionError:
        return
    raise OSError("loaded, but it does not refuse")


def _in_child(attempt: Callable[[], None]) -> str | None:
    """What went wrong when `attempt` was made in a child process, or None."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except BaseException as error:  # noqa: BLE001 -- the answer is the text
            os.write(write_end, str(error).encode()[:400])
            os._exit(1)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        text = pipe.read().decode("utf-8", "replace")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if code == 0 else text or f"the attempt ended with {code}"
