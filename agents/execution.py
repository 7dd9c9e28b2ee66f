"""The only way from a permit to a tool: the one importer of the sandbox."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from django.conf import settings

from agents.sandbox import door, syscalls
from agents.sandbox.call import SandboxCall
from agents.sandbox.errors import PermitError, PermitExpiredError, SandboxUnavailableError
from agents.sandbox.outcome import Failed, FailureKind, Outcome, Succeeded, Tier, Violation
from agents.sandbox.policy import SandboxPolicy
from agents.sandbox.probing import probe
from agents.tools.files import FileAccess, Grant
from agents.tools.limits import ResourceLimits
from agents.types import RuntimeDefaults
from approvals.canonical import digest
from approvals.manifests import ToolManifest, all_manifests
from approvals.types import Permit
from routekit_site.tenancy.spans import span

MOST_AT_ONCE = 8

__all__ = [
    "Failed",
    "FailureKind",
    "Job",
    "Outcome",
    "ResourceLimits",
    "SandboxPolicy",
    "Succeeded",
    "Violation",
    "end_with_parent",
    "files_of",
    "holds",
    "policy_for",
    "run_all",
    "sandbox_digest",
    "sandbox_policy",
    "sandbox_tier",
    "usage_of",
    "warm",
    "within",
]


@dataclass(frozen=True)
class Job:
    """One permitted call, ready to be run. `isolated` is asked while it runs, and ends it when it says yes.

    `unchanged` is asked when the sandbox is ready for it, which can take a while; where it says no, nothing is run.

    `permitted_at` is the database's time at which the permit was written: a worker's own clock may be wrong.
    """

    permit: Permit
    manifest: ToolManifest
    arguments: Mapping[str, Any]
    policy: SandboxPolicy
    isolated: Callable[[], bool] = lambda: False
    permitted_at: datetime | None = None
    made: float = field(default_factory=time.monotonic)
    unchanged: Callable[[], bool] = lambda: True

    def now(self) -> datetime | None:
        """The database's time, as far as can be told without asking it; None where it was not given."""
        if self.permitted_at is None:
            return None
        return self.permitted_at + timedelta(seconds=time.monotonic() - self.made)


def sandbox_policy(stored: Mapping[str, Any]) -> SandboxPolicy:
    """An agent's stored policy, under the site's rule of how strong the confinement must be.

    Raises:
        pydantic.ValidationError: what is stored is not a policy.
    """
    policy = SandboxPolicy.model_validate(stored)
    weak = settings.ROUTEKIT_SANDBOX_REQUIRE == "best_effort" and "require" not in stored
    required: Literal["kernel", "best_effort"] = "best_effort" if weak else "kernel"
    return policy.model_copy(update={"require": required})


def within(policy: SandboxPolicy, ceiling: ResourceLimits) -> SandboxPolicy:
    """The policy under a tenant's ceiling: the smaller of each limit that the ceiling names."""
    return policy.model_copy(update={"limits": policy.limits.tightened(ceiling)})


def policy_for(policy: SandboxPolicy, manifest: ToolManifest, runtime: RuntimeDefaults) -> SandboxPolicy:
    """The agent's policy as it holds for one tool.

    What the tool declares narrows the limits. Its own timeout wins over the default of `runtime`; a timeout that the
    policy itself names bounds both.
    """
    declared = ResourceLimits.model_validate(manifest.limits)
    timeout = runtime.timeout if manifest.timeout is None else manifest.timeout
    bounds = [limits.timeout for limits in (policy.limits, declared) if "timeout" in limits.model_fields_set]
    limits = policy.limits.tightened(declared).model_copy(update={"timeout": min([timeout, *bounds])})
    return policy.model_copy(update={"limits": limits})


def sandbox_tier() -> str:
    """The strongest tier that this machine enforces, such as "T2"; found out once a process."""
    return str(probe().tier)


def sandbox_digest(policy: SandboxPolicy) -> str:
    """SHA-256, hex, of everything that the sandbox would allow."""
    return digest(policy.model_dump(mode="json"))


def files_of(policy: SandboxPolicy) -> FileAccess | None:
    """The agent's folders, to be looked at from here; None for an agent without any."""
    if policy.filesystem is None:
        return None
    grants = [Grant(path, writable=True) for path in policy.filesystem.writable()]
    grants += [Grant(path, writable=False) for path in policy.filesystem.read_only_paths]
    return FileAccess(policy.filesystem.sandbox_root, tuple(grants))


def holds(policy: SandboxPolicy) -> tuple[tuple[str, str], ...]:
    """What will hold a call, as (label, text) for a reviewer."""
    lines: list[tuple[str, str]] = []
    if policy.filesystem is not None:
        lines += [("May write below", Path(path).name) for path in policy.filesystem.writable()]
        lines += [("May read below", Path(path).name) for path in policy.filesystem.read_only_paths]
    network = policy.network
    hosts = dict.fromkeys((*network.allowed_hosts, *network.allowed_networks)) if network is not None else ()
    lines.append(("Network", ", ".join(dict.fromkeys(hosts)) or "none"))
    limits = policy.limits
    lines.append(("Limits", f"{limits.timeout:g} s, {limits.memory_mb} MB of memory"))
    return tuple(lines)


def warm() -> None:
    """Start this process's sandbox now, with all tools imported ahead, so that the first call finds it ready."""
    _warm(os.getpid())


@lru_cache(maxsize=1)
def _warm(process: int) -> None:  # noqa: ARG001 - a forked process starts its own
    modules = dict.fromkeys(manifest.entrypoint.partition(":")[0] for manifest in all_manifests())
    door.start(preload=tuple(modules))


def end_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends, however that ends (Linux only).

    A worker's parent that is killed would leave its children at work, each with a sandbox of its own.
    """
    if not syscalls.LINUX:
        return
    parent = os.getppid()
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def run_all(jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Outcome]:
    """Run the calls, several at once where there are several, and tell what came of each, in order.

    A call whose permit the sandbox does not accept did not run; that is an outcome like any other.
    """
    if len(jobs) == 1:
        return [_run(jobs[0], stop)]
    with ThreadPoolExecutor(max_workers=min(MOST_AT_ONCE, len(jobs)), thread_name_prefix="tool") as threads:
        # Each thread goes on in a copy of this one's context, so that log lines and spans keep their run.
        contexts = [copy_context() for _ in jobs]
        return list(threads.map(lambda context, job: context.run(_run, job, stop), contexts, jobs))


def _run(job: Job, stop: Callable[[], bool]) -> Outcome:
    call = SandboxCall(
        call_id=job.permit.call_id,
        tool=job.manifest.name,
        entrypoint=job.manifest.entrypoint,
        arguments=job.arguments,
        permissions=frozenset(permission.value for permission in job.manifest.permissions),
        trusted_in_process=job.manifest.trusted_in_process,
        result_schema=job.manifest.result_schema,
        unchanged=job.unchanged,
    )
    try:
        _prepare(job.policy)
        with span("tool.run", tool=call.tool, run=str(job.permit.run_id), call=call.call_id):
            return door.run(job.permit, call, job.policy, cancelled=lambda: stop() or job.isolated(), now=job.now())
    except PermitError as error:
        # Being late is not being wrong: the next try looks at the approval again, and gets a permit of its own.
        late = isinstance(error, PermitExpiredError)
        return Failed(FailureKind.REFUSED, str(error), retryable=late, tier=Tier.T0, started=False)
    except SandboxUnavailableError as error:
        return Failed(FailureKind.SANDBOX_ERROR, str(error), retryable=True, tier=Tier.T0, started=False)
    except OSError as error:
        problem = os.strerror(error.errno) if error.errno else type(error).__name__
        return Failed(FailureKind.SANDBOX_ERROR, f"The sandbox failed: {problem}.", retryable=True, tier=Tier.T0)


def _prepare(policy: SandboxPolicy) -> None:
    """What a call needs before it is handed over.

    Raises:
        SandboxUnavailableError: it can't be had now; nothing was run.
    """
    try:
        warm()
        _make_root(policy)
    except OSError as error:
        raise SandboxUnavailableError.at("The call could not be prepared", error) from None


def _make_root(policy: SandboxPolicy) -> None:
    if policy.filesystem is not None:
        Path(policy.filesystem.sandbox_root).mkdir(mode=0o700, parents=True, exist_ok=True)


def usage_of(outcome: Outcome) -> dict[str, Any]:
    """What a call used, as plain JSON; times in seconds, sizes in bytes."""
    return asdict(outcome.usage)
