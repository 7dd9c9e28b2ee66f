"""The text of a file."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agents.tools.base import (
    Reversibility,
    Tool,
    ToolArguments,
    ToolContext,
    ToolError,
    ToolPermission,
    ToolResult,
    quoted,
)


class ReadFileArguments(ToolArguments):
    path: str = Field(min_length=1, max_length=4096, description="The file, relative to the agent's folder.")
    max_bytes: int = Field(default=65_536, ge=1, le=1_000_000, description="Bytes to read at most.")


class ReadFileResult(ToolResult):
    text: str
    truncated: bool = Field(description="Whether the file is longer than what was read.")


class ReadFile(Tool[ReadFileArguments, ReadFileResult]):
    name: ClassVar[str] = "read_file"
    description: ClassVar[str] = "Read a text file (UTF-8)."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    timeout: ClassVar[float | None] = 10.0
    idempotent: ClassVar[bool] = True
    Arguments = ReadFileArguments
    Result = ReadFileResult

    def run(self, arguments: ReadFileArguments, context: ToolContext) -> ReadFileResult:
        data, more = context.files.read_bytes(arguments.path, arguments.max_bytes)
        if b"\0" in data:
            raise ToolError(f"{arguments.path} is not a text file.")
        return ReadFileResult(text=data.decode("utf-8", "replace"), truncated=more)

    def describe(self, arguments: ReadFileArguments) -> str:
        return f"Read {quoted(arguments.path)}"
