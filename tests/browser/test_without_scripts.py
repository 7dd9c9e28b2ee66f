"""The main job without JavaScript: plain forms do it all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer
from tests.fixtures.browsers import Complaints
from tests.fixtures.processes import Site


@pytest.fixture
def rita(as_person: Callable[..., Page]) -> Page:
    """The reviewer, with scripts switched off."""
    return as_person("rita", java_script_enabled=False)


def test_a_job_is_submitted(as_person: Callable[..., Page], alice: Developer) -> None:
    page = as_person("alice", java_script_enabled=False)
    page.click("text=New job")
    page.fill("#id_prompt", 'read_file {"path": "notes.txt"}')
    page.click("text=Start the job")
    expect(page.locator(".step.prompt")).to_contain_text("read_file")
    alice.runs.append(page.url.split("/")[-2])


def test_a_call_is_approved_and_taken_back(rita: Page, alice: Developer) -> None:
    (gate,) = alice.ask(("read_file", {"path": "notes.txt"}))
    rita.reload()
    rita.click(f'.row[data-id="{gate}"] a')
    rita.click("#decide button.approve")
    expect(rita.locator(".outcome")).to_contain_text("by Rita")
    rita.click("button:has-text('Undo')")
    expect(rita.locator("#decide button.approve")).to_be_visible()
    assert alice.state(gate) == "pending"


def test_a_call_is_rejected_with_a_reason(rita: Page, alice: Developer, embedded: Site) -> None:
    (gate,) = alice.ask(("read_file", {"path": "notes.txt"}))
    rita.goto(f"{embedded.url}/queue/{gate}/")
    rita.fill("#reason", "Not this one")
    rita.click("button.refuse")
    expect(rita.locator(".outcome")).to_contain_text("Not this one")
    assert alice.state(gate) == "rejected"


def test_high_risk_is_confirmed_by_name(rita: Page, alice: Developer, embedded: Site, complaints: Complaints) -> None:
    complaints.expect("422")
    (gate,) = alice.ask(alice.risky())
    rita.goto(f"{embedded.url}/queue/{gate}/")
    rita.fill("#reason", "kept")
    rita.click("#decide button.approve")
    expect(rita.get_by_role("alert")).to_contain_text("Type the tool's name (http_request)")
    expect(rita.locator("#reason")).to_have_value("kept")
    rita.fill("#confirm", "http_request")
    rita.click("#decide button.approve")
    expect(rita.locator(".outcome")).to_contain_text("by Rita")
    rita.click("button:has-text('Undo')")
    assert alice.state(gate) == "pending"
