"""What can go wrong with the sandbox itself; what goes wrong with a call is an outcome, not an exception."""

from __future__ import annotations

import os
from typing import Self

from agents.errors import AgentError


class SandboxError(AgentError):
    """The sandbox could not be used."""


class PermitError(SandboxError):
    """The permit does not allow this call; nothing was run."""


class PermitExpiredError(PermitError):
    """The permit's time was over before the sandbox was ready; nothing was run."""


class SandboxUnavailableError(SandboxError):
    """The sandbox's processes could not be started; nothing was run."""

    @classmethod
    def at(cls, what: str, error: OSError) -> Self:
        """What the operating system refused, without the names that its own words may hold."""
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        return cls(f"{what}: {why}; nothing was run.")


class StandbyLostError(SandboxUnavailableError):
    """The sandbox's process ended before it was asked for anything; nothing was run."""


class ProtocolError(SandboxError):
    """A process of the sandbox sent something that is not a message."""
