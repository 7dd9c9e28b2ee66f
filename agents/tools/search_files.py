"""Find a piece of text in the files below a folder."""

from __future__ import annotations

import fnmatch
import posixpath
import stat
from typing import TYPE_CHECKING, ClassVar

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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agents.tools.files import FileAccess

MAX_FILE = 1_000_000
MAX_FILES = 5_000
MAX_DEPTH = 20
MAX_LINE = 300


class SearchFilesArguments(ToolArguments):
    text: str = Field(min_length=1, max_length=500, description="The text to find, taken literally.")
    path: str = Field(default=".", min_length=1, max_length=4096, description="The folder to search below.")
    name_pattern: str = Field(default="*", min_length=1, max_length=200, description="Glob on file names, say `*.md`.")
    ignore_case: bool = False
    limit: int = Field(default=50, ge=1, le=500, description="Matches to return at most.")


class Match(ToolResult):
    path: str
    line: int = Field(description="Counted from 1.")
    text: str


class SearchFilesResult(ToolResult):
    matches: list[Match]
    files_searched: int
    truncated: bool


class SearchFiles(Tool[SearchFilesArguments, SearchFilesResult]):
    name: ClassVar[str] = "search_files"
    description: ClassVar[str] = "Find lines that hold a text, in the files below a folder."
    permissions: ClassVar[frozenset[ToolPermission]] = frozenset({ToolPermission.FILESYSTEM})
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    timeout: ClassVar[float | None] = 30.0
    idempotent: ClassVar[bool] = True
    Arguments = SearchFilesArguments
    Result = SearchFilesResult

    def run(self, arguments: SearchFilesArguments, context: ToolContext) -> SearchFilesResult:
        matches: list[Match] = []
        searched = 0
        for path in _files_below(context.files, arguments.path, 0):
            if not fnmatch.fnmatchcase(posixpath.basename(path), arguments.name_pattern):
                continue
            if searched >= MAX_FILES:
                return SearchFilesResult(matches=matches, files_searched=searched, truncated=True)
            searched += 1
            matches.extend(_matches_in(context.files, path, arguments, arguments.limit + 1 - len(matches)))
            if len(matches) > arguments.limit:
                return SearchFilesResult(matches=matches[:-1], files_searched=searched, truncated=True)
        return SearchFilesResult(matches=matches, files_searched=searched, truncated=False)

    def describe(self, arguments: SearchFilesArguments) -> str:
        return (
            f"Search for “{quoted(arguments.text)}” in {quoted(arguments.name_pattern)} below {quoted(arguments.path)}"
        )


def _files_below(files: FileAccess, folder: str, depth: int) -> Iterator[str]:
    entries, _ = files.listing(folder, MAX_FILES)
    for name, info in entries:
        path = posixpath.join(folder, name) if folder != "." else name
        if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
            yield path
        elif stat.S_ISDIR(info.st_mode) and depth < MAX_DEPTH:
            yield from _files_below(files, path, depth + 1)


def _matches_in(files: FileAccess, path: str, wanted: SearchFilesArguments, limit: int) -> list[Match]:
    try:
        data, _ = files.read_bytes(path, MAX_FILE)
    except (ToolError, OSError):
        return []
    if b"\0" in data:
        return []
    needle = wanted.text.casefold() if wanted.ignore_case else wanted.text
    found: list[Match] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        if needle in (line.casefold() if wanted.ignore_case else line):
            found.append(Match(path=path, line=number, text=line[:MAX_LINE]))
            if len(found) == limit:
                break
    return found
