"""What every page promises of its files: small, nothing inline, nothing that could run a string."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from routekit_site.tenancy.templatetags.screens import modules_of

PROJECT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((PROJECT / "static" / "js").rglob("*.js"))
STYLES = sorted((PROJECT / "static" / "css").rglob("*.css"))
TEMPLATES = sorted((PROJECT / "templates").rglob("*.html"))


def _weight(files: list[Path]) -> int:
    return sum(len(gzip.compress(file.read_bytes())) for file in files)


ENTRIES = sorted({name for page in TEMPLATES for name in re.findall(r'{% module "([^"]+)" %}', page.read_text())})


def test_the_queue_is_among_the_pages_that_are_weighed() -> None:
    assert "queue-page.js" in ENTRIES
    assert "rows.js" in modules_of("queue-page.js")


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_a_page_loads_of_scripts_stays_small(entry: str) -> None:
    loaded = {entry, *modules_of(entry)}
    assert _weight([script for script in SCRIPTS if script.name in loaded]) <= 30 * 1024


def test_styles_stay_small_all_together() -> None:
    assert STYLES
    assert _weight(STYLES) <= 12 * 1024


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    sinks = r"innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write|eval\(|new Function|\.style\b|javascript:|https?://"
    assert re.findall(sinks, text) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_inline_styles_scripts_or_other_sites(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    assert re.findall(r"\sstyle=|<style|\son\w+=|<script(?![^>]*\ssrc=)|\|safe\b|autoescape off", text) == []
    assert re.findall(r"""(?:src|href|action)=["']?https?:""", text) == []
