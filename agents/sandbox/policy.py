"""What an agent's tools may do: the policy models. An unknown field, and a grant too wide to mean it, is an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agents.sandbox.hosts import HostRule, HostRules, NetworkRule
from agents.tools.limits import ResourceLimits

__all__ = ["FilesystemSandbox", "NetworkSandbox", "RateLimit", "ResourceLimits", "SandboxPolicy"]

PROJECT = Path(__file__).resolve().parents[2]
# Below the project only its data folder can be granted, never its code or its secrets.
_PROJECT_DATA = str(PROJECT / "var")
_NEVER_BELOW = ("/proc", "/sys", "/dev", "/boot", "/run", "/var/run", "/etc")
_NEVER_ITSELF = frozenset(
    f"/{name}"
    for name in ("", "bin", "home", "lib", "lib64", "opt", "root", "sbin", "srv", "tmp", "usr", "var", "var/tmp")
)
_SECRET_NAMES = frozenset(
    {".aws", ".azure", ".config", ".docker", ".env", ".git", ".gnupg", ".kube", ".netrc", ".pgpass", ".ssh"}
)


def grantable(text: str) -> str:
    """An absolute path that may be granted, without `.` and double slashes.

    Asked at each step of each run, because a folder may have become a link meanwhile: so it compares texts, which costs
    a tenth of what `Path` does.

    Raises:
        ValueError: with a sentence that says why not.
    """
    if "\0" in text or text.startswith("~") or not text.startswith("/"):
        raise ValueError(f"{text!a}: write an absolute path; `~` and relative paths are not understood.")
    if ".." in text.split("/"):
        raise ValueError(f"{text!a}: a path can't go up with `..`.")
    lexical = "/" + "/".join(part for part in text.split("/") if part not in {"", "."})
    for path in {lexical, os.path.realpath(lexical)}:
        if problem := _problem(path):
            raise ValueError(f"{text!a} can't be granted: {problem}")
    return lexical


def _within(path: str, folder: str) -> bool:
    """Whether a path is a folder or something below it; both are absolute, without `.`, `..` and double slashes."""
    return path == folder or path.startswith(folder if folder == "/" else f"{folder}/")


def _problem(path: str) -> str | None:
    if path in _NEVER_ITSELF:
        return "it is far wider than any tool needs."
    if tree := next((t for t in _NEVER_BELOW if _within(path, t) or _within(t, path)), None):
        return f"{tree} belongs to the system."
    if secret := next((part for part in path.split("/") if part in _SECRET_NAMES), None):
        return f"{secret} holds secrets."
    return _holds_ours(path)


def _holds_ours(path: str) -> str | None:
    project = str(PROJECT)
    if _within(project, path) or (_within(path, project) and not _within(path, _PROJECT_DATA)):
        return f"it holds the project itself and its secrets; use a folder of its own, or one below {_PROJECT_DATA}."
    if path == _PROJECT_DATA:
        return "it holds the project's own data; use a folder below it."
    places = (("the home folder", str(Path.home())), ("the Python installation", sys.base_prefix))
    found = next((name for name, place in places if _within(place, path)), None)
    return f"it holds {found}." if found else None


GrantedPath = Annotated[str, Field(max_length=4096), AfterValidator(grantable)]


class PolicyModel(BaseModel):
    """Base of the policy models: frozen, and an unknown field is an error rather than a silent hole."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FilesystemSandbox(PolicyModel):
    """The folders of an agent. `sandbox_root` is where its relative paths start; it is writable and made if missing."""

    allowed_paths: tuple[GrantedPath, ...] = Field(default=(), max_length=32, description="Folders it may write.")
    read_only_paths: tuple[GrantedPath, ...] = Field(default=(), max_length=32, description="Folders it may only read.")
    sandbox_root: GrantedPath = Field(description="The agent's own folder.")

    def writable(self) -> tuple[str, ...]:
        return (self.sandbox_root, *(p for p in self.allowed_paths if p != self.sandbox_root))

    @model_validator(mode="after")
    def _no_contradiction(self) -> FilesystemSandbox:
        both = set(self.writable()) & set(self.read_only_paths)
        if both:
            raise ValueError(f"{min(both)} is both writable and read-only; name it once.")
        return self

    def read_only_inside_writable(self) -> tuple[str, ...]:
        """Read-only folders inside a writable one: only a mount namespace can keep them read-only."""
        writable = [Path(p) for p in self.writable()]
        return tuple(p for p in self.read_only_paths if any(Path(p).is_relative_to(w) for w in writable))


class RateLimit(PolicyModel):
    """How many requests may be sent within any sixty seconds, all workers together."""

    requests_per_minute: int = Field(default=60, ge=1, le=100_000)


def _host_rule(text: str) -> str:
    HostRule.parse(text)
    return text.strip()


def _network_rule(text: str) -> str:
    NetworkRule.parse(text)
    return text.strip()


HostPattern = Annotated[str, Field(max_length=300), AfterValidator(_host_rule)]
NetworkPattern = Annotated[str, Field(max_length=300), AfterValidator(_network_rule)]


class NetworkSandbox(PolicyModel):
    """The hosts of an agent. No allowed host means no network; a block beats an allowance.

    `allowed_networks` names private addresses that this agent may reach all the same: a network, or `host:port`.
    """

    allowed_hosts: tuple[HostPattern, ...] = Field(default=(), max_length=200)
    blocked_hosts: tuple[HostPattern, ...] = Field(default=(), max_length=200)
    allowed_networks: tuple[NetworkPattern, ...] = Field(default=(), max_length=50)
    rate_limit: RateLimit = RateLimit()
    max_response_kb: int = Field(default=2048, ge=1, le=65_536, description="KiB of a response, raw and decoded each.")
    max_request_kb: int = Field(default=1024, ge=1, le=65_536, description="KiB of a request's body.")
    max_redirects: int = Field(default=5, ge=0, le=10)

    def rules(self) -> HostRules:
        """The rules in their parsed form."""
        return HostRules(
            allowed=tuple(HostRule.parse(t) for t in self.allowed_hosts),
            blocked=tuple(HostRule.parse(t) for t in self.blocked_hosts),
            private=tuple(NetworkRule.parse(t) for t in self.allowed_networks),
        )

    def open(self) -> bool:
        """Whether there is anything that can be reached."""
        return bool(self.allowed_hosts or self.allowed_networks)


class SandboxPolicy(PolicyModel):
    """All that one agent's tools may do. `require="kernel"` refuses to run where the kernel can't enforce it."""

    filesystem: FilesystemSandbox | None = None
    network: NetworkSandbox | None = None
    limits: ResourceLimits = ResourceLimits()
    require: Literal["kernel", "best_effort"] = "kernel"

    def warnings(self) -> list[str]:
        """What an operator should think about twice, one sentence each; empty for an ordinary policy."""
        found: list[str] = []
        if self.require == "best_effort":
            found.append("Tools may run without kernel enforcement on machines that lack it: that is not a boundary.")
        if self.network is not None:
            found += [f"Tools may reach {name}, which may be private." for name in self.network.allowed_networks]
            found += [f"Every name below {h[2:]} is allowed." for h in self.network.allowed_hosts if h.startswith("*.")]
        if self.filesystem is not None:
            found += [
                f"{path} is read-only inside a writable folder: refused on machines without namespaces."
                for path in self.filesystem.read_only_inside_writable()
            ]
        return found
