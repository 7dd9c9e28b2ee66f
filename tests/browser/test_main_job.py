"""The main job in two browsers: submitted in one, approved and rejected by key in the other, followed live in both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select, standing_still
from tests.fixtures.processes import Site

READ = ("read_file", {"path": "notes.txt"})


@pytest.mark.usefixtures("soon")
def test_a_job_is_submitted_approved_by_key_and_finishes_while_both_watch(
    as_person: Callable[..., Page], live_queue: Callable[..., Page], embedded: Site, alice: Developer
) -> None:
    rita, developer = live_queue(), as_person("alice")
    developer.click("text=New job")
    developer.fill(
        "#id_prompt", 'read_file {"path": "notes.txt"}\nthen\nwrite_file {"path": "live.txt", "text": "seen"}'
    )
    developer.keyboard.press("Control+Enter")
    developer.wait_for_url("**/runs/**")
    alice.runs.append(developer.url.split("/")[-2])
    # The reviewer's page was open all the time and is never reloaded.
    rita.wait_for_selector(".row[data-state=pending]")
    expect(rita).to_have_title("(1) Queue · RouteKit Site")
    expect(developer.locator(".run-head .state")).to_have_text("waiting")
    for sentence in ("Read notes.txt", "live.txt"):
        row = rita.locator(".row[data-state=pending]", has_text=sentence)
        select(rita, row.get_attribute("data-id") or "")
        rita.keyboard.press("a")
        expect(rita.locator(".toast").last).to_contain_text("Approved")
        expect(row).to_have_count(0)
        rita.mouse.move(900, 400)
    expect(developer.locator(".run-head .state")).to_have_text("succeeded")
    expect(developer.locator(".step.answer")).to_be_visible()
    written = list(Path(embedded.environment["ROUTEKIT_DATA_DIR"]).rglob("live.txt"))
    assert [path.read_text(encoding="utf-8") for path in written] == ["seen"]


def test_a_rejection_by_key_with_a_reason_reaches_the_transcript(
    as_person: Callable[..., Page], live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    run = alice.runs[-1]
    select(rita, gate)
    rita.keyboard.press("r")
    expect(rita.locator("#reason")).to_be_focused()
    rita.keyboard.type("Wrong file, ask bob@example.com")
    armed(rita)
    rita.keyboard.press("Control+Enter")
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "rejected")
    developer = as_person("alice")
    developer.goto(f"{developer.url.split('/jobs')[0]}/runs/{run}/")
    call = developer.locator(".call")
    expect(call.locator("summary .state")).to_have_text("rejected")
    expect(call).to_contain_text("Wrong file, ask [redacted: email]")
    expect(call.locator("h3").last).to_have_text("What the agent was told")


def test_an_approval_is_taken_back_inside_its_hold(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(READ)
    select(rita, gate)
    rita.keyboard.press("a")
    expect(rita.locator(".toast")).to_contain_text("Undo")
    rita.keyboard.press("z")
    expect(rita.locator(".toast").last).to_contain_text("waits again")
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "pending")
    expect(rita.locator("#decide")).to_be_visible()
    assert alice.state(gate) == "pending"


def test_the_next_call_opens_by_itself(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue(clock=True)
    first, second = alice.ask(READ, ("list_directory", {"path": "."}))
    select(rita, first)
    with standing_still(rita):
        rita.keyboard.press("a")
        rita.wait_for_selector(f'.row[data-id="{first}"][data-state="approved"]')
        rita.clock.run_for(50)
        rita.wait_for_selector(f'#gate[data-id="{second}"]:not([aria-busy="true"])')
        # What was pressed for the first one does nothing to the second.
        rita.keyboard.press("a")
    armed(rita)
    assert alice.state(second) == "pending"
    rita.keyboard.press("a")
    expect(rita.locator(f'.row[data-id="{second}"]')).to_have_attribute("data-state", "approved")


def test_high_risk_is_read_to_its_end_and_confirmed_by_name(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(alice.risky())
    select(rita, gate)
    rita.evaluate("document.querySelectorAll('[data-must-read], #detail').forEach((box) => box.scrollTo(0, 1e6))")
    expect(rita.locator("[data-hint]")).to_have_text("Read to the end.")
    rita.keyboard.press("a")
    dialog = rita.locator("#confirm-high")
    expect(dialog).to_be_visible()
    expect(dialog.locator("button.approve")).to_be_disabled()
    expect(dialog.locator("button.approve")).not_to_be_focused()
    rita.keyboard.type("http")
    rita.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    assert alice.state(gate) == "pending"
    rita.keyboard.type("_request")
    rita.keyboard.press("Enter")
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "approved")
    rita.keyboard.press("z")
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "pending")


def test_several_are_rejected_together_and_reported_one_by_one(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    first, second, risky = alice.ask(READ, ("list_directory", {"path": "."}), alice.risky())
    for gate in (first, second, risky):
        select(rita, gate)
        rita.keyboard.press("x")
    expect(rita.locator("[data-picked]")).to_have_text("2 selected")
    rita.click("[data-bulk=reject]")
    sheet = rita.locator("#bulk-sheet")
    expect(sheet.locator("li")).to_have_count(2)
    rita.fill("#bulk-reason", "Not today")
    sheet.locator("[data-send]").click()
    for line in (0, 1):
        expect(sheet.locator("li").nth(line)).to_contain_text("Rejected:")
    assert [alice.state(gate) for gate in (first, second, risky)] == ["rejected", "rejected", "pending"]


def test_the_one_who_comes_late_reads_who_won(
    live_queue: Callable[..., Page], as_person: Callable[..., Page], alice: Developer
) -> None:
    rita, adam = live_queue(), as_person("adam")
    adam.wait_for_selector('#connection[data-state="live"]')
    (gate,) = alice.ask(READ)
    select(adam, gate)
    select(rita, gate)
    expect(adam.locator(f'.row[data-id="{gate}"] .looker')).to_have_count(1)
    rita.keyboard.press("a")
    expect(adam.locator(".outcome")).to_contain_text("by Rita")
    expect(adam.locator("#decide")).to_have_count(0)
