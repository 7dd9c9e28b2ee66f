"""What came of a call: `Succeeded` or `Failed`, each with the tier it ran in, the violations and what it used."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Tier(StrEnum):
    """How strongly a call was confined.

    T2: T1 and its own namespaces. T1: Landlock, seccomp, rlimits, no_new_privs. T0: a subprocess with a clean
    environment and rlimits, which is no boundary. IN_PROCESS: a first-party tool that its manifest trusts.
    """

    T2 = "T2"
    T1 = "T1"
    T0 = "T0"
    IN_PROCESS = "in_process"


class FailureKind(StrEnum):
    """Why a call gave no value."""

    REFUSED = "refused"
    UNENFORCEABLE = "unenforceable"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    KILLED = "killed"
    RESOURCES = "resources"
    VIOLATION = "violation"
    TOOL_ERROR = "tool_error"
    INVALID_ARGUMENTS = "invalid_arguments"
    INVALID_RESULT = "invalid_result"
    RESULT_TOO_LARGE = "result_too_large"
    CONTAINED = "contained"
    NETWORK_REFUSED = "network_refused"
    NETWORK_ERROR = "network_error"
    NETWORK_RATE_LIMITED = "network_rate_limited"
    SANDBOX_ERROR = "sandbox_error"


# Failures that a second attempt may not meet again. Whether one is made is the run's decision: only idempotent tools.
RETRYABLE = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.KILLED,
        FailureKind.NETWORK_ERROR,
        FailureKind.NETWORK_RATE_LIMITED,
        FailureKind.SANDBOX_ERROR,
    }
)


# What a child may say of itself. The rest is for the worker to say: whether a call was cancelled, refused or timed out.
CLAIMABLE = frozenset(
    {
        FailureKind.UNENFORCEABLE,
        FailureKind.RESOURCES,
        FailureKind.VIOLATION,
        FailureKind.TOOL_ERROR,
        FailureKind.INVALID_ARGUMENTS,
        FailureKind.INVALID_RESULT,
        FailureKind.RESULT_TOO_LARGE,
        FailureKind.NETWORK_REFUSED,
        FailureKind.NETWORK_ERROR,
        FailureKind.NETWORK_RATE_LIMITED,
    }
)


class AttackClass(StrEnum):
    """What a violation was an attempt at; the sections of the attack list."""

    FILESYSTEM = "filesystem"
    PROCESS = "process"
    MEMORY = "memory"
    NETWORK = "network"
    RESOURCES = "resources"
    PROTOCOL = "protocol"


@dataclass(frozen=True)
class Attempt:
    """An attempt as it was noticed, before it is known whose call it was."""

    attack_class: AttackClass
    detail: str
    grave: bool = False


@dataclass(frozen=True)
class Violation:
    """One attempt at what the policy does not allow. It did not succeed.

    `grave`: code that tried to get out. Otherwise honest work may do the same: an argument that names something which
    is not allowed, too much of something, a file that is elsewhere.
    """

    attack_class: AttackClass
    detail: str
    tenant_id: int
    tool: str
    tier: Tier
    grave: bool = False


@dataclass(frozen=True)
class Usage:
    """What a call used, in seconds and bytes.

    Times and memory are the kernel's figures. File bytes are counted by the file helper inside the sandbox, so they are
    the tool's word; network bytes by the egress broker.
    """

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(frozen=True)
class Succeeded:
    """The tool returned a value that matches its declared result. `output` is what it printed, escaped and cut."""

    value: Any
    tier: Tier
    enforced: frozenset[str] = frozenset()
    violations: tuple[Violation, ...] = ()
    usage: Usage = field(default_factory=Usage)
    output: str = ""


@dataclass(frozen=True)
class Failed:
    """The tool gave no value. `message` is plain text that a person and the model may read.

    `started` is False where it is certain that none of the tool's code ran.
    """

    kind: FailureKind
    message: str
    retryable: bool
    tier: Tier
    enforced: frozenset[str] = frozenset()
    violations: tuple[Violation, ...] = ()
    usage: Usage = field(default_factory=Usage)
    output: str = ""
    retry_after: float | None = None
    started: bool = True


Outcome = Succeeded | Failed
