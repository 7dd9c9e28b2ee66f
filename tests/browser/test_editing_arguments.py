"""Editing a waiting call's arguments in the browser: by key, and as a plain form."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select
from tests.fixtures.browsers import Complaints
from tests.fixtures.processes import Site

WRITE = ("write_file", {"path": "edited.txt", "text": "one\ntwo\nmail anna.schmidt@example.org\n"})


def test_e_opens_the_editor_and_the_edited_call_is_approved_as_shown(
    live_queue: Callable[..., Page], alice: Developer, accessibility_violations: Callable[[Page], list[str]]
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(WRITE)
    select(rita, gate)
    rita.keyboard.press("e")
    rita.wait_for_url(f"**/queue/{gate}/edit/")
    text = rita.get_by_label("text", exact=True)
    expect(text).to_have_value("one\ntwo\nmail ⟦masked 1: email⟧\n")
    assert accessibility_violations(rita) == []
    text.fill("one\nthree\nmail ⟦masked 1: email⟧\n")
    rita.click("text=Show the edited call")
    expect(rita.get_by_role("heading", name=re.compile(r"What Rita .+ changed"))).to_be_visible()
    expect(rita.locator(".diff .added").first).to_contain_text("three")
    assert accessibility_violations(rita) == []
    armed(rita)
    rita.keyboard.press("a")
    expect(rita.locator(".outcome")).to_contain_text("by Rita")
    assert alice.state(gate) == "withdrawn"


@pytest.mark.parametrize("look", [{}, {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}])
def test_it_works_without_scripts_and_keeps_what_was_typed(
    as_person: Callable[..., Page], alice: Developer, embedded: Site, complaints: Complaints, look: dict[str, object]
) -> None:
    complaints.expect("422")
    (gate,) = alice.ask(WRITE)
    rita = as_person("rita", java_script_enabled=False, **look)
    rita.goto(f"{embedded.url}/queue/{gate}/")
    rita.click("text=Edit arguments")
    rita.get_by_label("overwrite").fill("perhaps")
    rita.click("text=Show the edited call")
    expect(rita.get_by_role("alert")).to_contain_text("not valid JSON")
    expect(rita.get_by_label("overwrite")).to_have_value("perhaps")
    rita.get_by_label("overwrite").fill("true")
    rita.click("text=Show the edited call")
    expect(rita.locator(".diff").first).to_be_visible()
    rita.goto(f"{embedded.url}/queue/{gate}/")
    expect(rita.locator(".outcome")).to_contain_text("edited the arguments")
    rita.click("text=see the new call")
    expect(rita.locator("#decide button.approve")).to_be_visible()
