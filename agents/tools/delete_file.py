"""Delete a file."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolPermission, ToolResult, quoted


class DeleteFileArguments(ToolArguments):
    path: str = Field(min_length=1, max_length=4096, description="The file, relative to the agent's folder.")


class DeleteFileResult(ToolResult):
    path: str
    bytes_freed: int


class DeleteFile(Tool[DeleteFileArguments, DeleteFileResult]):
    name: ClassVar[str] = "delete_file"
    description: ClassVar[str] = "Delete one file for good."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.IRREVERSIBLE
    timeout: ClassVar[float | None] = 10.0
    Arguments = DeleteFileArguments
    Result = DeleteFileResult

    def run(self, arguments: DeleteFileArguments, context: ToolContext) -> DeleteFileResult:
        return DeleteFileResult(path=arguments.path, bytes_freed=context.files.delete(arguments.path))

    def describe(self, arguments: DeleteFileArguments) -> str:
        return f"Delete {quoted(arguments.path)} for good"
