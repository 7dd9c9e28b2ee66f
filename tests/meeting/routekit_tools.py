"""`meet`: says that it is here, and waits until all the others are."""

from __future__ import annotations

import time
from typing import ClassVar

from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolError, ToolPermission, ToolResult


class MeetArguments(ToolArguments):
    me: int
    of: int


class MeetResult(ToolResult):
    met: int


class Meet(Tool[MeetArguments, MeetResult]):
    """Counts as read-only, so that its calls are run side by side."""

    name: ClassVar[str] = "meet"
    description: ClassVar[str] = "Meet the others."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    timeout: ClassVar[float | None] = 60.0
    Arguments = MeetArguments
    Result = MeetResult

    def run(self, arguments: MeetArguments, context: ToolContext) -> MeetResult:
        context.files.write_bytes(f"meeting/{arguments.me}", b"here")
        while len(context.files.listing("meeting", 100)[0]) < arguments.of:
            if context.deadline.remaining() < 1:
                raise ToolError("The others did not come.")
            time.sleep(0.01)
        return MeetResult(met=arguments.of)

    def describe(self, arguments: MeetArguments) -> str:
        return f"Meet {arguments.of - 1} others"
