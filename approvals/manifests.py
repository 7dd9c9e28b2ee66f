"""What is known of each tool: a registry in memory, the same in every process of one release. Pure.

The floor above registers its tools here at start, so that allow-lists and gates need no import from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from approvals.canonical import digest
from approvals.effects import Reversibility, ToolPermission
from approvals.errors import ManifestConflict, UnknownTool
from approvals.types import Risk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HIGH = frozenset({ToolPermission.SUBPROCESS, ToolPermission.DATABASE, ToolPermission.SECRETS})


@dataclass(frozen=True)
class ToolManifest:
    """One tool as its author declares it; `argument_schema` and `result_schema` are JSON Schemas of objects.

    `timeout` is in seconds. `entrypoint` is what the sandbox loads (`package.module:Class`). `idempotent` says that
    running a call twice has the effect of running it once. `trusted_in_process` is for built-in pure tools only.
    `limits` are the ceilings that the tool declares for itself, by the names of `agents.tools.limits.ResourceLimits`.
    `runs_given_code` marks a tool whose arguments are a program: what such a call attempts is its arguments' doing.
    `reversibility_of` tells the calls of one tool apart; `reversibility` is the worst of them. `idempotent_of` does so
    where some of a tool's calls can be repeated and others can't.
    """

    name: str
    description: str
    permissions: frozenset[ToolPermission]
    reversibility: Reversibility
    argument_schema: dict[str, Any]
    result_schema: dict[str, Any]
    schema_digest: str
    timeout: float | None
    idempotent: bool
    entrypoint: str
    trusted_in_process: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)
    runs_given_code: bool = False
    reversibility_of: Callable[[Mapping[str, Any]], Reversibility] | None = None
    idempotent_of: Callable[[Mapping[str, Any]], bool] | None = None

    def reversibility_for(self, arguments: Mapping[str, Any]) -> Reversibility:
        """The class of one call: what the tool says of these arguments, else its own class.

        Arguments that the tool can't judge (a recorded call of an older version) count as the tool's own class.
        """
        if self.reversibility_of is None:
            return self.reversibility
        try:
            return self.reversibility_of(arguments)
        except (KeyError, TypeError, ValueError):
            return self.reversibility

    def idempotent_for(self, arguments: Mapping[str, Any]) -> bool:
        """Whether one call may be repeated: what the tool says of these arguments, else of itself; in doubt not."""
        if self.idempotent_of is None:
            return self.idempotent
        try:
            return self.idempotent_of(arguments)
        except (KeyError, TypeError, ValueError):
            return False


_MANIFESTS: dict[str, ToolManifest] = {}


def register(manifest: ToolManifest) -> None:
    """Make a tool known. Registering the same manifest again changes nothing.

    Raises:
        ManifestConflict: another tool has that name.
    """
    known = _MANIFESTS.setdefault(manifest.name, manifest)
    if known != manifest:
        message = f"Two tools are called {manifest.name}: {known.entrypoint} and {manifest.entrypoint}."
        raise ManifestConflict(message)


def get(name: str) -> ToolManifest:
    """The manifest of a tool.

    Raises:
        UnknownTool: no tool has that name.
    """
    try:
        return _MANIFESTS[name]
    except KeyError:
        message = f"There is no tool called {name}."
        raise UnknownTool(message) from None


def all_manifests() -> tuple[ToolManifest, ...]:
    """All tools, sorted by name."""
    return tuple(_MANIFESTS[name] for name in sorted(_MANIFESTS))


def schema_digest(argument_schema: Mapping[str, Any], result_schema: Mapping[str, Any]) -> str:
    """What `ToolManifest.schema_digest` holds: SHA-256 of the canonical JSON of both schemas."""
    return digest({"arguments": argument_schema, "result": result_schema})


def risk_of(permissions: frozenset[ToolPermission], reversibility: Reversibility) -> Risk:
    """How much harm a wrong approval can do.

    High: can't be undone, or reaches processes, databases or secrets. Low: only reads, and not from the network.
    Medium: the rest.
    """
    if reversibility is Reversibility.IRREVERSIBLE or permissions & _HIGH:
        return Risk.HIGH
    if reversibility is Reversibility.READ_ONLY and ToolPermission.NETWORK not in permissions:
        return Risk.LOW
    return Risk.MEDIUM
