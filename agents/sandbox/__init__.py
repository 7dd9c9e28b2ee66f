"""The one door to running tool code: `run(permit, call, policy) -> Outcome`.

Nothing runs without a permit for exactly that call, and what runs is confined by the kernel: see
docs/explanation/sandbox.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "call": ("SandboxCall", "arguments_digest"),
    "door": ("run", "start", "stop"),
    "errors": ("PermitError", "SandboxError", "SandboxUnavailableError"),
    "outcome": ("AttackClass", "Failed", "FailureKind", "Outcome", "Succeeded", "Tier", "Usage", "Violation"),
    "policy": ("FilesystemSandbox", "NetworkSandbox", "RateLimit", "ResourceLimits", "SandboxPolicy"),
    "probing": ("Feature", "Report", "probe"),
}
_MODULES = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Imported when first asked for: the zygote, which shares this package, must not hold the worker's half.

        Every fork of it would copy the page tables of that memory, and every child's end would take them down.
        """
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(_MODULES[name]), name)
        return found
