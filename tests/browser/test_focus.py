"""Whoever works by keyboard is never thrown back to the top of the page: the focus is where the work goes on."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select

READ = ("read_file", {"path": "notes.txt"})
LIST = ("list_directory", {"path": "."})


def _focused_row(page: Page) -> str:
    return str(page.evaluate("document.activeElement.closest('.row')?.dataset.id ?? document.activeElement.tagName"))


def test_after_a_rejection_that_was_typed_the_next_row_has_the_focus(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    first, second = alice.ask(READ, LIST)
    select(rita, first)
    rita.keyboard.press("r")
    rita.keyboard.type("Not today")
    armed(rita)
    rita.keyboard.press("Control+Enter")
    rita.wait_for_selector(f'#gate[data-id="{second}"]:not([aria-busy="true"])')
    assert _focused_row(rita) == second


def test_after_a_click_on_approve_the_next_row_has_the_focus_and_after_the_last_one_its_outcome(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    first, second = alice.ask(READ, LIST)
    select(rita, first)
    rita.click("#decide .approve")
    rita.wait_for_selector(f'#gate[data-id="{second}"]:not([aria-busy="true"])')
    assert _focused_row(rita) == second
    armed(rita)
    rita.click("#decide .approve")
    expect(rita.locator(".outcome")).to_be_focused()


def test_a_decision_of_somebody_else_leaves_the_focus_in_the_call(
    live_queue: Callable[..., Page], as_person: Callable[..., Page], alice: Developer
) -> None:
    rita, adam = live_queue(), as_person("adam")
    adam.wait_for_selector('#connection[data-state="live"]')
    (gate,) = alice.ask(READ)
    select(adam, gate)
    select(rita, gate)
    adam.keyboard.press("r")
    adam.keyboard.type("Half a reas")
    rita.keyboard.press("a")
    expect(adam.locator(".outcome")).to_contain_text("by Rita")
    expect(adam.locator(".outcome")).to_be_focused()
    # No clock runs for what is decided.
    expect(adam.locator("#gate .left")).to_have_count(0)


def test_what_clears_something_and_goes_leaves_the_focus_in_the_list(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    gate, other = alice.ask(READ, LIST)
    select(rita, other)
    select(rita, gate)
    rita.keyboard.press("x")
    rita.click("[data-bulk=clear]")
    assert _focused_row(rita) == gate
    rita.keyboard.press("/")
    rita.keyboard.type("nothing like it")
    rita.click("[data-clear-filter]")
    expect(rita.locator("#q")).to_be_focused()
    rita.locator(f'.row[data-id="{gate}"] .pick').check()
    rita.click("[data-bulk=reject]")
    rita.click("#bulk-sheet [data-send]")
    expect(rita.locator("#bulk-sheet li")).to_contain_text("Rejected:")
    rita.click("#bulk-sheet button[value=close]")
    assert _focused_row(rita) == gate


def test_enter_on_a_row_leads_into_its_call_past_all_other_rows(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    gate, other = alice.ask(READ, LIST)
    select(rita, gate)
    for each in (other, gate, gate):
        rita.locator(f'.row[data-id="{each}"] a').focus()
        rita.keyboard.press("Enter")
        expect(rita.locator(f'#gate[data-id="{each}"] #sentence')).to_be_focused()
    rita.keyboard.press("Tab")
    assert rita.evaluate("document.activeElement.closest('#gate') !== null")
