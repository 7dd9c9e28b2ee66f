"""What a tool is: its declaration, and the code that the sandbox's child process calls.

A tool is a subclass of `Tool` with an `Arguments` and a `Result` model. It gets the outside world only through
`ToolContext`: `files` for files below its folders, `http` for requests through the egress broker.
Nothing here knows Django: this module is imported by the sandbox's child, which has no settings.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.tools.files import FileAccess, ToolError
from agents.tools.limits import ResourceLimits
from approvals.effects import Reversibility, ToolPermission

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

__all__ = [
    "Deadline",
    "InvalidArgumentsError",
    "InvalidResultError",
    "ResourceLimits",
    "Reversibility",
    "Tool",
    "ToolArguments",
    "ToolContext",
    "ToolError",
    "ToolPermission",
    "ToolResult",
]


class ToolArguments(BaseModel):
    """Base of argument models: frozen, and a field the tool does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class ToolResult(BaseModel):
    """Base of result models; what the model and the trace are given."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InvalidArgumentsError(ToolError):
    """The arguments do not match what the tool takes."""


class InvalidResultError(ToolError):
    """The tool returned something that does not match its declared result."""


@dataclass(frozen=True)
class Deadline:
    """The moment, on this machine's monotonic clock, at which the call is killed."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())


def _no_network() -> httpx.Client:
    raise ToolError("This tool was not given the network permission.")


@dataclass(frozen=True)
class ToolContext:
    """The outside world as one call may see it.

    `files` reads and writes below the granted folders only; `scratch` is an empty folder that is gone after the call
    (empty string when the tool has no filesystem permission). `http` is an httpx client whose requests go to the
    egress broker; a tool without the network permission gets a `ToolError` on first use.
    """

    files: FileAccess
    deadline: Deadline
    scratch: str = ""
    open_http: Callable[[], httpx.Client] = field(default=_no_network, repr=False)

    @property
    def http(self) -> httpx.Client:
        return self.open_http()


A = TypeVar("A", bound=ToolArguments)
R = TypeVar("R", bound=BaseModel)


class Tool(ABC, Generic[A, R]):
    """One thing an agent can do. Instances hold no state: one is made for every call.

    `timeout` (seconds) wins over the site's default. `idempotent` says that a second run with the same arguments does
    no harm, so that the run may retry it. `limits` narrows the policy's limits for this tool.
    `rehearsal` holds arguments with which a waiting sandbox process goes through a built-in tool ahead of time, so that
    a real call finds its memory ready; for tools that read nothing from outside.
    `scratch_only` gives the tool an empty scratch folder instead of the agent's folders.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset()
    reversibility: ClassVar[Reversibility]
    timeout: ClassVar[float | None] = None
    idempotent: ClassVar[bool] = False
    limits: ClassVar[ResourceLimits | None] = None
    scratch_only: ClassVar[bool] = False
    rehearsal: ClassVar[Mapping[str, Any] | None] = None
    Arguments: type[A]
    Result: type[R]

    @abstractmethod
    def run(self, arguments: A, context: ToolContext) -> R:
        """Do it. Raises `ToolError` with a message that a person and the model may read."""

    @classmethod
    def reversibility_of(cls, arguments: Mapping[str, Any]) -> Reversibility:  # noqa: ARG003 - for tools that look
        """The class of one call, from its checked arguments: a tool that does several things may tell them apart. Pure.

        `reversibility` is the tool's own class, the worst of them.
        """
        return cls.reversibility

    @classmethod
    def idempotent_for(cls, arguments: Mapping[str, Any]) -> bool:  # noqa: ARG003 - for tools that look
        """Whether running this one call twice has the effect of running it once, from its checked arguments. Pure."""
        return cls.idempotent

    @abstractmethod
    def describe(self, arguments: A) -> str:
        """One plain sentence for the reviewer: what this call will do. Pure."""

    def execute(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Check the arguments, run, check the result. Returns JSON values.

        Raises:
            InvalidArgumentsError: the arguments do not match `Arguments`.
            InvalidResultError: `run` returned something else than a valid `Result`.
            ToolError: the tool could not do it.
        """
        try:
            parsed = self.Arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise InvalidArgumentsError(first_problem(error)) from None
        result = self.run(parsed, context)
        try:
            return self.Result.model_validate(result).model_dump(mode="json")
        except (ValidationError, ValueError) as error:
            message = first_problem(error) if isinstance(error, ValidationError) else str(error)
            raise InvalidResultError(f"The tool's result does not match its declaration: {message}") from None


def first_problem(error: ValidationError) -> str:
    """The first validation problem as "field: what is wrong", without echoing the value."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "arguments"
    return f"{where}: {problem['msg']}"


def byte_size(count: int) -> str:
    """A byte count as a person reads it, such as "2.1 KB" (1 KB = 1,000 bytes)."""
    if count < 1000:  # noqa: PLR2004 -- below a kilobyte, exact
        return f"{count} byte{'' if count == 1 else 's'}"
    size = float(count)
    for unit in ("KB", "MB", "GB"):
        size /= 1000
        if size < 1000 or unit == "GB":  # noqa: PLR2004 -- the next unit
            return f"{size:.1f} {unit}"
    raise AssertionError


def quoted(text: str) -> str:
    """Text for a sentence: control characters escaped. Not cut: a sentence is redacted first, and then cut."""
    return text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
