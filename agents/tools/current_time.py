"""The time, in a named zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field

from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolError, ToolResult, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping


class CurrentTimeArguments(ToolArguments):
    timezone: str = Field(
        default="UTC", min_length=1, max_length=64, description="An IANA time zone such as Europe/Berlin."
    )


class CurrentTimeResult(ToolResult):
    time: str = Field(description="ISO 8601 with the zone's offset.")
    weekday: str
    timezone: str


class CurrentTime(Tool[CurrentTimeArguments, CurrentTimeResult]):
    name: ClassVar[str] = "current_time"
    description: ClassVar[str] = "Tell the current date and time in a time zone."
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    timeout: ClassVar[float | None] = 5.0
    idempotent: ClassVar[bool] = True
    rehearsal: ClassVar[Mapping[str, Any] | None] = {}
    Arguments = CurrentTimeArguments
    Result = CurrentTimeResult

    def run(self, arguments: CurrentTimeArguments, context: ToolContext) -> CurrentTimeResult:  # noqa: ARG002
        try:
            zone = UTC if arguments.timezone == "UTC" else ZoneInfo(arguments.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ToolError(f"There is no time zone called {quoted(arguments.timezone)}.") from None
        now = datetime.now(zone)
        return CurrentTimeResult(
            time=now.isoformat(timespec="seconds"), weekday=now.strftime("%A"), timezone=arguments.timezone
        )

    def describe(self, arguments: CurrentTimeArguments) -> str:
        return f"Tell the time in {quoted(arguments.timezone)}"
