"""`manage.py house_rooms`: keeps the tables of rooms in docs/explanation/house.md equal to the code."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routekit_site.env import PROJECT

PAGE = PROJECT / "docs" / "explanation" / "house.md"
HEADING = "## Rooms\n"
FLOORS = (
    ("routekit_site", "Roof"),
    ("agents", "Floor 3"),
    ("approvals", "Floor 2"),
    ("traces", "Floor 1"),
    ("routekit_site/tenancy", "Ground"),
)
# What every Django app has under the same name needs no explanation.
_USUAL = {"__init__", "apps", "asgi", "migrations", "routing", "templatetags", "tenancy", "urls"}


def purpose(path: Path) -> str:
    """The first paragraph of a module's docstring on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("|", "\\|")


def _commands(folder: Path) -> str:
    names = sorted(path.stem for path in (folder / "commands").glob("*.py") if not path.stem.startswith("_"))
    return f"Commands: {', '.join(f'`{name}`' for name in names)}."


def rooms_of(floor: Path) -> list[tuple[str, str]]:
    """(name, purpose) of each room of a floor, by name."""
    rooms: list[tuple[str, str]] = []
    for path in sorted(floor.iterdir()):
        if path.stem in _USUAL:
            continue
        if path.name == "management":
            rooms.append((f"{path.name}/", _commands(path)))
        elif (path / "__init__.py").exists():
            rooms.append((f"{path.name}/", purpose(path / "__init__.py")))
        elif path.suffix == ".py":
            rooms.append((path.name, purpose(path)))
    return rooms


def tables() -> str:
    """All floors' tables as Markdown."""
    parts = []
    for folder, title in FLOORS:
        rows = [f"| `{name}` | {text} |" for name, text in rooms_of(PROJECT / folder)]
        parts.append("\n".join([f"### {title}: `{folder}/`", "", "| room | holds |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


class Command(BaseCommand):
    """Writes the tables, or with `--check` only says whether they are up to date."""

    help = "Write the tables of rooms in docs/explanation/house.md from the modules' docstrings."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; fail when the page is out of date")

    def handle(self, **options: Any) -> None:
        written = PAGE.read_text(encoding="utf-8")
        page = written.split(HEADING)[0] + HEADING + "\n" + tables()
        if page == written:
            return
        if options["check"]:
            raise CommandError("docs/explanation/house.md is out of date: run manage.py house_rooms")
        PAGE.write_text(page, encoding="utf-8")
