"""What can go wrong with the sandbox itself; what goes wrong with a call is an outcome, not an exception."""

from __future__ import annotations

from agents.errors import AgentError


class SandboxError(AgentError):
    """The sandbox could not be used."""


class PermitError(SandboxError):
    """The permit does not allow this call; nothing was run."""


class SandboxUnavailableError(SandboxError):
    """The sandbox's processes could not be started."""


class StandbyLostError(SandboxUnavailableError):
    """The sandbox's process ended before it was asked for anything; nothing was run."""


class ProtocolError(SandboxError):
    """A process of the sandbox sent something that is not a message."""
