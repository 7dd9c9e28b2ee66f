"""What is asked of the sandbox, and the permit without which it does nothing."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import rfc8785

from agents.sandbox.errors import PermitError, PermitExpiredError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID


_SWEEP_FROM = 1024


class PermitLike(Protocol):
    """The part of `approvals.types.Permit` that the sandbox checks."""

    @property
    def id(self) -> UUID: ...
    @property
    def tenant_id(self) -> int: ...
    @property
    def run_id(self) -> UUID: ...
    @property
    def call_id(self) -> str: ...
    @property
    def tool(self) -> str: ...
    @property
    def arguments_digest(self) -> str: ...
    @property
    def nonce(self) -> str: ...
    @property
    def expires_at(self) -> datetime: ...


@dataclass(frozen=True)
class SandboxCall:
    """One call of one tool.

    `entrypoint` is "package.module:ClassName" of a `Tool` subclass. `permissions` are those of the trusted manifest.
    `result_schema` is the JSON Schema that the worker checks the result against. `trusted_in_process` runs a
    first-party tool in the worker itself, unconfined. `unchanged` is asked last of all, before a process is given the
    call: whether what the call acts on is still as it was when the call was permitted.
    """

    call_id: str
    tool: str
    entrypoint: str
    arguments: Mapping[str, Any]
    permissions: frozenset[str]
    trusted_in_process: bool
    result_schema: Mapping[str, Any]
    unchanged: Callable[[], bool] = lambda: True


def arguments_digest(arguments: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON (RFC 8785) of a call's arguments."""
    return hashlib.sha256(rfc8785.dumps(dict(arguments))).hexdigest()


class SpentPermits:
    """The permits used in this process; a permit is good for one call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: dict[tuple[UUID, str], datetime] = {}
        self._sweep_at = _SWEEP_FROM

    def after_fork(self) -> None:
        """In a forked process: the lock may have been held by a thread that does not exist here."""
        self._lock = threading.Lock()

    def spend(self, permit: PermitLike, call: SandboxCall, now: datetime) -> None:
        """Check that `permit` is for exactly `call`, and use it up.

        Raises:
            PermitError: another call, tool or other arguments; or used before.
            PermitExpiredError: too late.
        """
        if permit.call_id != call.call_id or permit.tool != call.tool:
            raise PermitError("The permit is for another call; nothing was run.")
        try:
            digest = arguments_digest(call.arguments)
        except (rfc8785.CanonicalizationError, ValueError, TypeError, RecursionError):
            raise PermitError("The arguments are not canonical JSON; nothing was run.") from None
        if permit.arguments_digest != digest:
            raise PermitError("The arguments are not those that were approved; nothing was run.")
        if permit.expires_at <= now:
            raise PermitExpiredError("The permit has expired; nothing was run. Ask for approval again.")
        with self._lock:
            if len(self._spent) >= self._sweep_at:
                self._spent = {key: until for key, until in self._spent.items() if until > now}
                self._sweep_at = max(_SWEEP_FROM, 2 * len(self._spent))
            key = (permit.id, permit.nonce)
            if key in self._spent:
                raise PermitError("The permit was used before; nothing was run.")
            self._spent[key] = permit.expires_at
