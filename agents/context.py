"""What surrounds a call at one moment: the file that it would change and the request that it would send.

A reviewer is shown both, and the approval is bound to the file's state: when the file is another one at redemption, the
approval no longer holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.tools.files import FileAccess, FileMissingError, ToolError
from approvals.canonical import digest
from approvals.presentation import FileChange, HttpCall

_SHOWN_BYTES = 1_000_000


@dataclass(frozen=True)
class Context:
    """What a call acts on; `digest` is empty where nothing of it is bound to the approval."""

    digest: str = ""
    file_change: FileChange | None = None
    request: HttpCall | None = None


def context_of(tool: str, arguments: Mapping[str, Any], files: FileAccess | None) -> Context:
    """The surroundings of a call with canonical arguments. `files` are the agent's folders, or None."""
    match tool:
        case "write_file" if files is not None:
            return _file(files, str(arguments["path"]), str(arguments["text"]))
        case "delete_file" if files is not None:
            return _file(files, str(arguments["path"]), None)
        case "http_request":
            return Context(
                request=HttpCall(
                    method=str(arguments["method"]),
                    url=str(arguments["url"]),
                    headers=dict(arguments["headers"]),
                    body=str(arguments["body"]),
                )
            )
    return Context()


def _file(files: FileAccess, path: str, new: str | None) -> Context:
    old, note, state = _present(files, path)
    return Context(digest=digest({"path": path, "state": state}), file_change=FileChange(path, old, new, note))


def _present(files: FileAccess, path: str) -> tuple[str | None, str, str]:
    """The file's text, a note where it can't be shown, and a digest of its state."""
    try:
        data, more = files.read_bytes(path, _SHOWN_BYTES)
        mark = files.mark(path) if more else ""
    except FileMissingError:
        return None, "", "missing"
    except (ToolError, OSError) as error:
        note = str(error) if isinstance(error, ToolError) else "The present file can't be read."
        return None, note, f"unreadable: {type(error).__name__}"
    state = hashlib.sha256(data).hexdigest()
    if more:
        return None, "The present file is too large to be shown; it holds more than 1 MB.", f"large: {state} {mark}"
    try:
        return data.decode(), "", state
    except UnicodeDecodeError:
        return None, "The present file is not text.", state
