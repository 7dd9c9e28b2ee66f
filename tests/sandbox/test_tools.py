"""The built-in tools: what they do, what they refuse, and the sentence that a reviewer reads."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

import agents.tools
from agents.sandbox.door import BUILT_IN
from agents.tools.base import Deadline, Tool, ToolContext, ToolError
from agents.tools.calculator import evaluate
from agents.tools.current_time import CurrentTime
from agents.tools.delete_file import DeleteFile
from agents.tools.files import FileAccess, Grant
from agents.tools.http_request import HttpRequest
from agents.tools.list_directory import ListDirectory
from agents.tools.read_file import ReadFile
from agents.tools.run_python import RunPython
from agents.tools.search_files import SearchFiles
from agents.tools.write_file import WriteFile

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = [
    found
    for name in BUILT_IN
    for found in vars(importlib.import_module(name)).values()
    if isinstance(found, type) and issubclass(found, Tool) and found.__module__ == name
]


def execute(tool: type[Tool[Any, Any]], root: Path | None = None, **arguments: Any) -> Any:
    grants = (Grant(str(root), writable=True),) if root else ()
    return tool().execute(arguments, ToolContext(FileAccess(str(root or "/"), grants), Deadline.after(5)))


def test_every_tool_file_is_imported_ahead_of_time() -> None:
    files = {f"agents.tools.{m.name}" for m in pkgutil.iter_modules(agents.tools.__path__)}
    assert set(BUILT_IN) <= files
    assert len(TOOLS) == len(BUILT_IN)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda t: t.name)
def test_declarations(tool: type[Tool[Any, Any]]) -> None:
    assert tool.__module__ == f"agents.tools.{tool.name}"
    assert tool.Arguments.model_json_schema()["additionalProperties"] is False
    assert tool.Result.model_json_schema()["additionalProperties"] is False
    assert tool.description.endswith(".")
    assert tool.timeout is not None
    with pytest.raises(ToolError, match=r"Extra inputs|Field required"):
        tool().execute({"surprise": 1}, ToolContext(FileAccess("/", ()), Deadline.after(1)))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 1", "2"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("-7 // 2", "-4"),
        ("7 % 4", "3"),
        ("1 / 4", "0.25"),
        ("sqrt(16) + pi - pi", "4"),
        ("round(2.6)", "3"),
        ("1e3", "1000"),
        ("2 ** -1", "0.5"),
        ("(-2) ** 3", "-8"),
    ],
)
def test_calculator(expression: str, value: str) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "10 ** 10 ** 7", "9 ** 9 ** 9 ** 9", "(2 ** 4000) * (2 ** 4000)", "1e308 * 10", "1 / 0", "0 ** -1", "log(0)",
        "(-1) ** 0.5", "__import__('os')", "a", "'a' * 9", "[1]", "True + 1", "1 if 1 else 2", "f(1)", "sqrt(1, 2)",
        "abs(x=1)", "lambda: 1",
        "(" * 300 + "1" + ")" * 300, "1+" * 900 + "1", "1j", "1 << 5000", "", "é",
    ],
)  # fmt: skip
def test_calculator_refuses_at_once(expression: str) -> None:
    with pytest.raises(ToolError):
        evaluate(expression)


def test_current_time() -> None:
    assert execute(CurrentTime)["time"].endswith("+00:00")
    assert execute(CurrentTime, timezone="Asia/Kolkata")["time"].endswith("+05:30")
    for zone in ("Nowhere/None", "../etc/passwd", "/etc/localtime", "UTC\0"):
        with pytest.raises(ToolError, match="no time zone"):
            execute(CurrentTime, timezone=zone)


def test_files_from_writing_to_deleting(tmp_path: Path) -> None:
    assert execute(WriteFile, tmp_path, path="a/b.md", text="one\ntwo é\n") == {
        "path": "a/b.md",
        "bytes_written": 11,
        "created": True,
    }
    with pytest.raises(ToolError, match="exists"):
        execute(WriteFile, tmp_path, path="a/b.md", text="x")
    assert execute(WriteFile, tmp_path, path="a/b.md", text="one\nTwo\n", overwrite=True)["created"] is False
    assert execute(ReadFile, tmp_path, path="a/b.md") == {"text": "one\nTwo\n", "truncated": False}
    assert execute(ReadFile, tmp_path, path="a/b.md", max_bytes=3) == {"text": "one", "truncated": True}
    assert execute(ReadFile, tmp_path, path=str(tmp_path / "a/b.md"))["text"] == "one\nTwo\n"
    entries = execute(ListDirectory, tmp_path, path="a")["entries"]
    assert [(e["name"], e["kind"], e["size"]) for e in entries] == [("b.md", "file", 8)]
    assert execute(DeleteFile, tmp_path, path="a/b.md") == {"path": "a/b.md", "bytes_freed": 8}
    with pytest.raises(ToolError, match="no file"):
        execute(ReadFile, tmp_path, path="a/b.md")
    with pytest.raises(ToolError, match="no file"):
        execute(DeleteFile, tmp_path, path="a/b.md")
    assert list((tmp_path / "a").iterdir()) == []


def test_search(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("first\nNeedle here\n")
    (tmp_path / "b.txt").write_text("a needle\nneedle again\n")
    (tmp_path / "binary").write_bytes(b"needle\0")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    exact = execute(SearchFiles, tmp_path, text="needle")
    assert [(m["path"], m["line"]) for m in exact["matches"]] == [("b.txt", 1), ("b.txt", 2)]
    folded = execute(SearchFiles, tmp_path, text="NEEDLE", ignore_case=True, name_pattern="*.md")
    assert [(m["path"], m["line"], m["text"]) for m in folded["matches"]] == [("docs/a.md", 2, "Needle here")]
    assert execute(SearchFiles, tmp_path, text="needle", limit=1)["truncated"] is True
    assert execute(SearchFiles, tmp_path, text="root:")["matches"] == []


def test_what_is_not_text_is_not_read_as_text(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\x89PNG\0")
    with pytest.raises(ToolError, match="not a text file"):
        execute(ReadFile, tmp_path, path="image")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept").write_text("old")

    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agents.tools.files._write_all", full)
    with pytest.raises(OSError, match="No space"):
        execute(WriteFile, tmp_path, path="kept", text="new", overwrite=True)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("kept", "old")]


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        (WriteFile, {"path": "report.md", "text": "x" * 2100}, "Write 2.1 KB to report.md"),
        (
            WriteFile,
            {"path": "a", "text": "x", "overwrite": True},
            "Write 1 byte to a, replacing the file if there is one",
        ),
        (DeleteFile, {"path": "a\x1b[31m"}, "Delete a\\x1b[31m for good"),
        (ReadFile, {"path": "a\u202eb"}, "Read a\\u202eb"),
        (ListDirectory, {}, "List the folder ."),
        (HttpRequest, {"url": "https://api.example.com/x"}, "Send GET to api.example.com: https://api.example.com/x"),
        (
            HttpRequest,
            {"url": "https://a.example/", "method": "POST", "body": "xx"},
            "Send POST with 2 bytes of data to a.example: https://a.example/",
        ),
        (RunPython, {"code": "a\nb"}, "Run 2 lines of Python in a scratch folder, without network"),
        (CurrentTime, {}, "Tell the time in UTC"),
    ],
)
def test_the_reviewers_sentence(tool: type[Tool[Any, Any]], arguments: dict[str, Any], sentence: str) -> None:
    assert tool().describe(tool.Arguments.model_validate(arguments)) == sentence


def test_addresses_other_than_http_are_not_arguments() -> None:
    for url in ("file:///etc/passwd", "ftp://a/", "//a.example/"):
        with pytest.raises(ValidationError):
            HttpRequest.Arguments(url=url)


def test_files_without_folders(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="No folders"):
        execute(ReadFile, path=str(tmp_path))
