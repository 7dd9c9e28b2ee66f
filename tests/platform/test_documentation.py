"""The documentation keeps its word: commands take what is written, links lead somewhere, the tutorial works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class

from agents.sandbox import SandboxPolicy
from tests.fixtures.compose import PROJECT
from tests.fixtures.people import FINISHED, Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

TUTORIAL = PROJECT / "docs" / "tutorial" / "first-agent-and-first-tool.md"
PAGES = [*sorted((PROJECT / "docs").rglob("*.md")), *sorted(PROJECT.glob("*.md"))]
_COMMAND = re.compile(r"manage\.py (?P<line>[a-z_]+(?:[^`\n]|(?<=python )\n)*)")
_LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")
_TARGET = re.compile(r"\bmake (?P<name>[a-z][a-z-]*)\b")


def written() -> Iterator[tuple[str, str]]:
    """Each `manage.py` command line of the documentation, with the page on which it stands."""
    for page in PAGES:
        for found in _COMMAND.finditer(page.read_text(encoding="utf-8")):
            line = found["line"].split("|")[0].split(" > ")[0].split(";")[0].strip().rstrip(".,:)")
            yield page.name, line


def prose(line: str) -> str:
    """The command without the sentence that goes on behind it, where it stands in running text."""
    return line if re.search(r" (-|[A-Z0-9\"])", line) else line.split(" ", maxsplit=1)[0]


@pytest.mark.parametrize(("page", "line"), sorted(set(written())))
def test_commands_exist_and_take_what_is_written(page: str, line: str) -> None:
    name, *words = shlex.split(prose(line).replace("…", "x"))
    assert name in get_commands(), f"{page}: there is no manage.py {name}"
    command = load_command_class(get_commands()[name], name)
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    known = {option for action in command.create_parser("manage.py", name)._actions for option in action.option_strings}
    assert set(options) <= known, f"{page}: {line}"


def test_links_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(PROJECT)}: {target}"
        for page in PAGES
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]
    assert broken == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for code in re.findall(r"`([^`\n]+)`", page.read_text(encoding="utf-8"))
        for name in _TARGET.findall(code)
        if code.startswith(("make ", "OPENAI", "ROUTEKIT"))
    }
    assert named <= targets


def test_the_sandbox_that_is_shown_is_one_and_its_words_exist() -> None:
    page = (PROJECT / "docs" / "how-to" / "connect-a-model.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    policy = SandboxPolicy.model_validate_json(shown)
    assert policy.filesystem is not None
    assert policy.network is not None
    rows = re.findall(r"^   \| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    named = {part: set(re.findall(r"`([a-z_]+)`", words)) for part, words in rows}
    assert named["filesystem"] == set(type(policy.filesystem).model_fields)
    assert named["network"] == set(type(policy.network).model_fields)
    assert named["limits"] == set(type(policy.limits).model_fields)


def blocks(language: str) -> list[str]:
    """The tutorial's code blocks in one language."""
    return re.findall(rf"```{language}\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)


def finish(alice: Person, rita: Person, run: str) -> dict[str, Any]:
    """Approve what a run asks for until it has ended."""

    def ended() -> dict[str, Any] | None:
        for gate in [row for row in rita.waiting() if row["run"] == run]:
            rita.approve(gate)
        found = alice.run(run)
        return found if found["state"] in FINISHED else None

    return eventually(ended, within=60, what=f"the end of run {run}") or {}


def test_the_tutorial_works(own_embedded: Callable[..., Site], tmp_path: Path) -> None:
    (tool,) = blocks("python")
    folder = tmp_path / "wordtools"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "routekit_tools.py").write_text(tool, encoding="utf-8")
    first, with_tool = (text.strip() for text in blocks("text"))
    site = own_embedded(ROUTEKIT_APPS="wordtools", PYTHONPATH=str(tmp_path))
    no_hold(site)
    alice, rita = Person.at(site, "alice"), Person.at(site, "rita")

    assert finish(alice, rita, alice.submit(first))["state"] == "succeeded"
    for line in [line for block in blocks("sh") for line in block.splitlines() if "manage.py" in line]:
        words = shlex.split(line.split("manage.py", 1)[1])
        assert site.manage(*words).returncode == 0

    site.manage(
        "shell",
        "-c",
        "from approvals.models import ToolAllowance; from routekit_site.tenancy.models import Tenant; "
        "ToolAllowance.objects.create(tenant=Tenant.objects.get(slug='acme'), tool='count_words', mode='ask')",
    )
    told = finish(alice, rita, alice.submit(with_tool))
    (call,) = told["steps"][0]["calls"]
    assert call["result"][0]["name"] == "words"
    assert int(call["result"][0]["text"]) > 20
