"""The one door: `run` spends the permit, makes the plan, and runs the call where nothing else is in reach."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agents.sandbox import cold, in_process, plan
from agents.sandbox.call import SpentPermits
from agents.sandbox.confined import Confined
from agents.sandbox.egress import session
from agents.sandbox.errors import SandboxUnavailableError, StandbyLostError
from agents.sandbox.outcome import Failed, FailureKind, Outcome, Tier
from agents.sandbox.pool import STANDBYS, Pool
from agents.sandbox.probing import probe
from agents.sandbox.zygote import OPEN, SEALED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agents.sandbox.call import PermitLike, SandboxCall
    from agents.sandbox.plan import Plan
    from agents.sandbox.policy import SandboxPolicy
    from agents.sandbox.probing import Report

logger = logging.getLogger("agents.sandbox")
BUILT_IN = tuple(
    f"agents.tools.{name}"
    for name in (
        "calculator",
        "current_time",
        "delete_file",
        "http_request",
        "list_directory",
        "read_file",
        "run_python",
        "search_files",
        "write_file",
    )
)


class Sandbox:
    """The sandbox of this process: its zygote, the permits it has seen, and the strongest tier it may use."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # Two that start it at once would each end what the other has just started, and the calls in it.
        self.starting = threading.Lock()
        self.spent = SpentPermits()
        self.preload: tuple[str, ...] = BUILT_IN
        self.ceiling = Tier.T2
        self.pool: Pool | None = None

    def report(self) -> Report:
        """What will be enforced here: what the machine can do, not above the ceiling."""
        found = probe()
        if found.tier is Tier.T2 and self.ceiling is Tier.T1:
            return replace(found, tier=Tier.T1)
        return replace(found, tier=Tier.T0) if self.ceiling is Tier.T0 else found

    def living_pool(self) -> Pool:
        """The running zygote, started if there is none."""
        with self.lock:
            if self.pool is None or not self.pool.alive():
                if self.pool is not None:
                    self.pool.stop()
                self.pool = Pool.start(namespaces=self.report().tier is Tier.T2, preload=self.preload)
            return self.pool

    def after_fork(self) -> None:
        """In a forked process: the zygote belongs to the parent."""
        if self.pool is not None:
            self.pool.disown()
        self.lock = threading.Lock()
        self.starting = threading.Lock()
        self.spent.after_fork()
        self.pool = None


_sandbox = Sandbox()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_sandbox.after_fork)


def start(preload: Iterable[str] = (), *, ceiling: Tier = Tier.T2) -> Report:
    """Start the zygote now instead of on the first call; harmless when it runs. Returns what is enforced.

    `preload` names further modules of tools to import ahead of time; a module not named is imported inside the locks,
    on every call; what was named before stays. `ceiling` is the strongest tier to use.
    """
    with _sandbox.starting:
        modules = tuple(dict.fromkeys((*_sandbox.preload, *preload)))
        if modules != _sandbox.preload or ceiling is not _sandbox.ceiling:
            stop()
            _sandbox.preload, _sandbox.ceiling = modules, ceiling
        report = _sandbox.report()
        plan.sweep_scratch()
        if report.tier in (Tier.T1, Tier.T2):
            _sandbox.living_pool()
    logger.info("sandbox: tier %s on %s, enforced: %s", report.tier, report.kernel, ", ".join(sorted(report.enforced)))
    return report


def stop() -> None:
    """End this process's zygote and egress broker; harmless when there is none."""
    with _sandbox.lock:
        pool, _sandbox.pool = _sandbox.pool, None
    if pool is not None:
        pool.stop()
    session.stop()


atexit.register(stop)


def run(
    permit: PermitLike,
    call: SandboxCall,
    policy: SandboxPolicy,
    *,
    cancelled: Callable[[], bool] | None = None,
    now: datetime | None = None,
) -> Outcome:
    """Run one approved call, confined as `policy` says, and tell what came of it. Blocks until it has ended.

    `cancelled` is asked every 20 ms and ends the call when it says yes. `now` is the time by the clock that the permit
    was written by, which this process's own may not agree with.

    Raises:
        PermitError: the permit is not for exactly this call; nothing was run.
    """
    _sandbox.spent.spend(permit, call, now or datetime.now(UTC))
    if call.trusted_in_process:
        return in_process.run(call, policy.limits)
    try:
        outcome = _run(permit, call, policy, cancelled)
    except SandboxUnavailableError as error:
        outcome = Failed(
            FailureKind.SANDBOX_ERROR, str(error), retryable=True, tier=_sandbox.report().tier, started=False
        )
    for violation in outcome.violations:
        logger.warning(
            "sandbox violation: class=%s tenant=%s tool=%s tier=%s call=%s %s",
            violation.attack_class,
            violation.tenant_id,
            violation.tool,
            violation.tier,
            call.call_id,
            violation.detail.encode("unicode_escape").decode(),
        )
    return outcome


def _run(permit: PermitLike, call: SandboxCall, policy: SandboxPolicy, cancelled: Callable[[], bool] | None) -> Outcome:
    report = _sandbox.report()
    confinable = report.tier in (Tier.T1, Tier.T2)
    preloaded = _sandbox.living_pool().preloaded if confinable else frozenset()
    made = plan.make(call, policy, report, preloaded)
    if isinstance(made, plan.Refusal):
        # Another try would be refused again. But it is certain that nothing ran.
        problem = made.message
        return Failed(made.kind, problem, retryable=False, tier=report.tier, enforced=report.enforced, started=False)
    with plan.scratch_folder(made) as scratch:
        if not confinable:
            return cold.run(made, permit.tenant_id, scratch, cancelled)
        return _run_confined(made, permit.tenant_id, scratch, cancelled)


def _run_confined(made: Plan, tenant_id: int, scratch: str, cancelled: Callable[[], bool] | None) -> Outcome:
    """Run in a standby child; in the next one when those that waited were killed meanwhile, as a full machine does."""
    kind = OPEN if made.files or made.code else SEALED
    for _ in range(STANDBYS[kind]):
        with contextlib.suppress(StandbyLostError):
            return _run_in_standby(kind, made, tenant_id, scratch, cancelled)
    return _run_in_standby(kind, made, tenant_id, scratch, cancelled)


def _run_in_standby(
    kind: str, made: Plan, tenant_id: int, scratch: str, cancelled: Callable[[], bool] | None
) -> Outcome:
    started = time.monotonic()
    pool = _sandbox.living_pool()
    child = pool.take(kind)
    with contextlib.closing(child), session.opened(made, tenant_id, child.egress) as egress:
        confined = Confined(made, tenant_id, child, pool.address_space, pool.obituary, cancelled, started)
        outcome = confined.run(scratch)
        child.kill()
        return egress.added_to(outcome)
