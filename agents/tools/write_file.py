"""Write a text file."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agents.tools.base import (
    Reversibility,
    Tool,
    ToolArguments,
    ToolContext,
    ToolPermission,
    ToolResult,
    byte_size,
    quoted,
)


class WriteFileArguments(ToolArguments):
    path: str = Field(min_length=1, max_length=4096, description="The file, relative to the agent's folder.")
    text: str = Field(max_length=1_000_000, description="The whole new content.")
    overwrite: bool = Field(default=False, description="Whether a file that exists may be replaced.")


class WriteFileResult(ToolResult):
    path: str
    bytes_written: int
    created: bool = Field(description="Whether the file is new.")


class WriteFile(Tool[WriteFileArguments, WriteFileResult]):
    name: ClassVar[str] = "write_file"
    description: ClassVar[str] = "Write a text file (UTF-8), making folders on the way."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.REVERSIBLE
    timeout: ClassVar[float | None] = 10.0
    Arguments = WriteFileArguments
    Result = WriteFileResult

    def run(self, arguments: WriteFileArguments, context: ToolContext) -> WriteFileResult:
        data = arguments.text.encode("utf-8", "replace")
        created = context.files.write_bytes(arguments.path, data, overwrite=arguments.overwrite)
        return WriteFileResult(path=arguments.path, bytes_written=len(data), created=created)

    def describe(self, arguments: WriteFileArguments) -> str:
        size = byte_size(len(arguments.text.encode("utf-8", "replace")))
        replacing = ", replacing the file if there is one" if arguments.overwrite else ""
        return f"Write {size} to {quoted(arguments.path)}{replacing}"
