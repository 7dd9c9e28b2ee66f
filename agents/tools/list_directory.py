"""What is in a folder."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import Field

from agents.tools.base import (
    Reversibility,
    Tool,
    ToolArguments,
    ToolContext,
    ToolPermission,
    ToolResult,
    quoted,
)


class ListDirectoryArguments(ToolArguments):
    path: str = Field(default=".", min_length=1, max_length=4096, description="The folder, relative to the agent's.")
    limit: int = Field(default=200, ge=1, le=1000, description="Entries to return at most.")


class Entry(ToolResult):
    name: str
    kind: Literal["file", "folder", "link", "other"]
    size: int = Field(description="Bytes.")
    modified: str


class ListDirectoryResult(ToolResult):
    entries: list[Entry]
    truncated: bool


class ListDirectory(Tool[ListDirectoryArguments, ListDirectoryResult]):
    name: ClassVar[str] = "list_directory"
    description: ClassVar[str] = "List the files and folders in a folder."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    timeout: ClassVar[float | None] = 10.0
    idempotent: ClassVar[bool] = True
    Arguments = ListDirectoryArguments
    Result = ListDirectoryResult

    def run(self, arguments: ListDirectoryArguments, context: ToolContext) -> ListDirectoryResult:
        found, more = context.files.listing(arguments.path, arguments.limit)
        entries = [
            Entry(
                name=name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                kind=kind_of(info.st_mode),
                size=info.st_size,
                modified=datetime.fromtimestamp(int(info.st_mtime), UTC).isoformat(),
            )
            for name, info in found
        ]
        return ListDirectoryResult(entries=entries, truncated=more)

    def describe(self, arguments: ListDirectoryArguments) -> str:
        return f"List the folder {quoted(arguments.path)}"


def kind_of(mode: int) -> Literal["file", "folder", "link", "other"]:
    """The kind of a directory entry, from `st_mode`; links are not followed."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"
