"""From a call and a policy to what exactly will be enforced, or to the reason why it can't be."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agents.sandbox.errors import SandboxUnavailableError
from agents.sandbox.outcome import FailureKind, Tier
from agents.sandbox.policy import grantable
from agents.tools.files import Grant
from approvals.effects import ToolPermission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.sandbox.call import SandboxCall
    from agents.sandbox.policy import FilesystemSandbox, NetworkSandbox, SandboxPolicy
    from agents.sandbox.probing import Report
    from agents.tools.limits import ResourceLimits


_SCRATCH = "routekit-scratch-"
_TRUSTED_ONLY = frozenset({ToolPermission.DATABASE, ToolPermission.SECRETS, ToolPermission.SUBPROCESS})


@dataclass(frozen=True)
class Code:
    """A top-level module or package that the zygote has not imported: its name, its file if it has one, its folders."""

    name: str
    file: str
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """One call as it will run. `grants` are real paths; `code` holds modules that the zygote has not imported."""

    call: SandboxCall
    tier: Tier
    enforced: frozenset[str]
    limits: ResourceLimits
    grants: tuple[Grant, ...]
    root: str
    files: bool
    network: NetworkSandbox | None
    code: Code | None

    def writable(self) -> tuple[str, ...]:
        return tuple(g.path for g in self.grants if g.writable)


@dataclass(frozen=True)
class Refusal:
    """Nothing was run, and why."""

    kind: FailureKind
    message: str


def make(call: SandboxCall, policy: SandboxPolicy, report: Report, preloaded: frozenset[str]) -> Plan | Refusal:
    """What will be enforced for `call` on the machine that `report` describes."""
    if refusal := _unenforceable(call, policy, report):
        return refusal
    files = ToolPermission.FILESYSTEM in call.permissions
    wants_network = ToolPermission.NETWORK in call.permissions
    if wants_network and (policy.network is None or not policy.network.open()):
        return Refusal(FailureKind.NETWORK_REFUSED, "No host is allowed for this agent, so nothing was sent.")
    folders = policy.filesystem if files else None
    try:
        grants, root = _granted(folders)
        code = None if call.entrypoint.partition(":")[0] in preloaded else _code_of(call.entrypoint)
    except OSError as error:
        return Refusal(FailureKind.REFUSED, f"A folder of this agent can't be used: {error.strerror}: {error.filename}")
    except (ImportError, ValueError) as error:
        return Refusal(FailureKind.REFUSED, f"The code of {call.tool} can't be found: {error}")
    network = policy.network if wants_network else None
    return Plan(call, report.tier, report.enforced, policy.limits, grants, root, files, network, code)


def _unenforceable(call: SandboxCall, policy: SandboxPolicy, report: Report) -> Refusal | None:
    if trusted_only := _TRUSTED_ONLY & call.permissions:
        names = " and ".join(sorted(trusted_only))
        return Refusal(
            FailureKind.UNENFORCEABLE,
            f"{call.tool} asks for {names}, which the sandbox does not give; its manifest must trust it in process.",
        )
    if report.tier is Tier.T0 and policy.require == "kernel":
        missing = "; ".join(f"{f.name}: {f.detail}" if f.detail else f.name for f in report.missing)
        return Refusal(
            FailureKind.UNENFORCEABLE,
            f"This machine can't confine tools, so nothing was run. Missing: {missing}. "
            "An operator can choose best effort for this agent, which is not a boundary.",
        )
    nested = policy.filesystem.read_only_inside_writable() if policy.filesystem else ()
    if nested and report.tier is not Tier.T2:
        return Refusal(
            FailureKind.UNENFORCEABLE,
            f"{nested[0]} is read-only inside a writable folder. Only namespaces can enforce that, "
            "and this machine does not allow them; nothing was run.",
        )
    return None


def _granted(folders: FilesystemSandbox | None) -> tuple[tuple[Grant, ...], str]:
    """The grants with links resolved by us, before any tool code runs, and the agent's own folder, made if missing."""
    if folders is None:
        return (), "/"
    Path(folders.sandbox_root).mkdir(mode=0o700, parents=True, exist_ok=True)
    grants = [Grant(_real(p), writable=True) for p in folders.writable()]
    grants += [Grant(_real(p), writable=False) for p in folders.read_only_paths]
    return tuple(grants), _real(folders.sandbox_root)


def _real(path: str) -> str:
    """A path with links resolved, which must still be one that may be granted.

    Raises:
        OSError: it does not exist.
        ValueError: a link has led to something that may not be granted since the policy was saved.
    """
    real = str(Path(path).resolve(strict=True))
    grantable(real)
    return real


def _code_of(entrypoint: str) -> Code:
    """Where the top-level package of an entry point's module is. Nothing is imported."""
    top = entrypoint.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None:
        raise ImportError(f"there is no module {top}")
    file = str(Path(spec.origin).resolve()) if spec.origin and Path(spec.origin).is_file() else ""
    return Code(top, file, tuple(str(Path(place).resolve()) for place in spec.submodule_search_locations or ()))


def sweep_scratch() -> None:
    """Delete the scratch folders of workers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        owner = folder.name.removeprefix(_SCRATCH).partition("-")[0]
        if owner.isdigit() and folder.is_dir() and folder.stat().st_uid == os.getuid() and not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def scratch_folder(plan: Plan) -> Iterator[str]:
    """A folder for this call only, deleted afterwards; tier T2 makes its own in memory instead (empty string).

    Raises:
        SandboxUnavailableError: it could not be made.
    """
    if not plan.files or plan.tier is Tier.T2:
        yield ""
        return
    try:
        made = tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{os.getpid()}-", ignore_cleanup_errors=True)
    except OSError as error:
        raise SandboxUnavailableError.at("There is no scratch folder to be had", error) from None
    with made as folder:
        yield os.path.realpath(folder)
