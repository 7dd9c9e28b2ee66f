"""The one door to running tool code: `run(permit, call, policy) -> Outcome`.

Nothing runs without a permit for exactly that call, and what runs is confined by the kernel: see
docs/explanation/sandbox.md.
"""

from __future__ import annotations

from agents.sandbox.call import SandboxCall, arguments_digest
from agents.sandbox.door import run, start, stop
from agents.sandbox.errors import PermitError, SandboxError, SandboxUnavailableError
from agents.sandbox.outcome import AttackClass, Failed, FailureKind, Outcome, Succeeded, Tier, Usage, Violation
from agents.sandbox.policy import FilesystemSandbox, NetworkSandbox, RateLimit, ResourceLimits, SandboxPolicy
from agents.sandbox.probing import Feature, Report, probe

__all__ = [
    "AttackClass",
    "Failed",
    "FailureKind",
    "Feature",
    "FilesystemSandbox",
    "NetworkSandbox",
    "Outcome",
    "PermitError",
    "RateLimit",
    "Report",
    "ResourceLimits",
    "SandboxCall",
    "SandboxError",
    "SandboxPolicy",
    "SandboxUnavailableError",
    "Succeeded",
    "Tier",
    "Usage",
    "Violation",
    "arguments_digest",
    "probe",
    "run",
    "start",
    "stop",
]
