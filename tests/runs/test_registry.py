"""A project's own tools are found at start, and a wrong declaration is refused with a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from django.apps import AppConfig, apps

from agents.errors import BadTool
from agents.tools import registry
from agents.tools.base import InvalidArgumentsError
from agents.tools.write_file import WriteFile
from approvals import manifests
from approvals.effects import Reversibility

SOURCE = """
from typing import ClassVar
from agents.tools.base import Reversibility, Tool, ToolArguments, ToolContext, ToolResult

class ShoutArguments(ToolArguments):
    text: str

class ShoutResult(ToolResult):
    text: str

class Shout(Tool[ShoutArguments, ShoutResult]):
    name: ClassVar[str] = "shout"
    description: ClassVar[str] = "Say it loud."
    reversibility: ClassVar[Reversibility] = Reversibility.READ_ONLY
    Arguments = ShoutArguments
    Result = ShoutResult

    def run(self, arguments: ShoutArguments, context: ToolContext) -> ShoutResult:
        return ShoutResult(text=arguments.text.upper())

    def describe(self, arguments: ShoutArguments) -> str:
        return "Shout"
"""


@pytest.fixture
def own_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An installed app with a routekit_tools.py, gone again afterwards."""
    package = tmp_path / "harbour"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "routekit_tools.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import harbour  # type: ignore[import-not-found]  # noqa: PLC0415 - it exists from here on

    config = AppConfig("harbour", harbour)
    monkeypatch.setattr(apps, "get_app_configs", lambda: [config])
    monkeypatch.setattr(registry, "_tools", dict(registry._tools))
    monkeypatch.setattr(manifests, "_MANIFESTS", dict(manifests._MANIFESTS))
    yield harbour
    for name in [name for name in sys.modules if name.partition(".")[0] == "harbour"]:
        del sys.modules[name]


def test_the_built_in_tools_are_known() -> None:
    names = {manifest.name for manifest in manifests.all_manifests()}
    assert {"calculator", "current_time", "read_file", "write_file", "delete_file", "http_request"} <= names
    assert manifests.get("write_file").entrypoint == "agents.tools.write_file:WriteFile"


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("GET", Reversibility.EXTERNALLY_REVERSIBLE),
        ("HEAD", Reversibility.EXTERNALLY_REVERSIBLE),
        ("POST", Reversibility.IRREVERSIBLE),
        ("DELETE", Reversibility.IRREVERSIBLE),
    ],
)
def test_fetching_is_told_apart_from_sending(method: str, expected: Reversibility) -> None:
    manifest = manifests.get("http_request")
    assert manifest.reversibility_for({"url": "https://example.com/", "method": method}) is expected


def test_a_call_that_its_tool_cannot_judge_counts_as_the_worst() -> None:
    assert manifests.get("http_request").reversibility_for({}) is Reversibility.IRREVERSIBLE


def test_an_installed_app_brings_its_tools(own_app: ModuleType) -> None:
    registry.discover()
    registry.discover()
    manifest = manifests.get("shout")
    assert (manifest.entrypoint, manifest.permissions) == (f"{own_app.__name__}.routekit_tools:Shout", frozenset())


def test_two_tools_of_one_name_are_refused() -> None:
    twin = type("Twin", (WriteFile,), {"__module__": "elsewhere"})
    with pytest.raises(BadTool, match='Two tools are called "write_file"'):
        registry.register(twin)


def test_an_incomplete_tool_is_refused() -> None:
    half = type("Half", (WriteFile,), {"description": None, "name": "half"})
    with pytest.raises(BadTool, match="does not declare: description"):
        registry.register(half)


def test_arguments_become_canonical() -> None:
    assert registry.canonical_arguments(WriteFile, {"path": "a", "text": "b"}) == {
        "path": "a",
        "text": "b",
        "overwrite": False,
    }
    with pytest.raises(InvalidArgumentsError, match=r"^text: Field required$"):
        registry.canonical_arguments(WriteFile, {"path": "secret-value"})
