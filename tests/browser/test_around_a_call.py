"""Around a waiting call, in browsers: claims, a masked value on request, questions, answers in the tool's place."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select
from tests.fixtures.processes import Site

Violations = Callable[[Page], list[str]]
ADDRESS = "anna.schmidt@example.org"
WRITE = ("write_file", {"path": "around.txt", "text": f"mail {ADDRESS} <b>today</b>\n"})


def test_opening_a_call_claims_it_and_a_takeover_is_told_to_both(
    live_queue: Callable[..., Page], as_person: Callable[..., Page], alice: Developer, embedded: Site
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(WRITE)
    select(rita, gate)
    expect(rita.locator("[data-claim-text]")).to_have_text("You have claimed this.")
    adam = as_person("adam")
    adam.goto(f"{embedded.url}/queue/?gate={gate}")
    adam.wait_for_selector('#connection[data-state="live"]')
    expect(adam.locator("[data-claim-text]")).to_contain_text("has claimed this. You can still decide.")
    expect(adam.locator(f'.row[data-id="{gate}"] .claimed')).to_contain_text("Rita")
    adam.keyboard.press("c")
    expect(adam.locator("[data-claim-text]")).to_contain_text("You have claimed this, taken over from Rita")
    expect(rita.locator("#toasts")).to_contain_text("took over write_file, which you had claimed.")
    expect(rita.locator("[data-claim-text]")).to_contain_text("has claimed this. You can still decide.")
    expect(rita.locator(f'.row[data-id="{gate}"] .claimed')).to_be_visible()
    # Whoever lost the claim decides all the same.
    armed(rita)
    rita.keyboard.press("a")
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "approved")


def test_a_masked_value_is_shown_on_request_to_one_page_and_hidden_again(
    live_queue: Callable[..., Page], alice: Developer, accessibility_violations: Violations
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(WRITE)
    select(rita, gate)
    assert ADDRESS not in rita.content()
    rita.click("#masked summary")
    rita.get_by_label("Why do you need to see it?").fill("Is it the customer's?")
    assert accessibility_violations(rita) == []
    rita.click("text=Show the value")
    expect(rita.locator(".revealed .value")).to_have_text(ADDRESS)
    assert accessibility_violations(rita) == []
    rita.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    expect(rita.locator(".revealed")).to_have_count(0)
    assert ADDRESS not in rita.content()
    assert ADDRESS not in str(rita.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage)]"))
    rita.reload()
    expect(rita.locator("#masked")).to_contain_text("shown 1 time so far")
    assert ADDRESS not in rita.content()


def test_m_answers_in_the_tools_place(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(WRITE)
    select(rita, gate)
    rita.keyboard.press("m")
    expect(rita.locator("#answer")).to_be_focused()
    armed(rita)
    rita.keyboard.type("All in the wiki already, thanks.")
    rita.keyboard.press("Control+Enter")
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "answered")
    assert alice.state(gate) == "answered"
    rita.locator("#toasts button", has_text="Undo").click()
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "pending")
    assert alice.state(gate) == "pending"


def test_a_question_reaches_the_submitter_and_the_answer_comes_back_live(
    live_queue: Callable[..., Page], as_person: Callable[..., Page], alice: Developer, embedded: Site
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(WRITE)
    select(rita, gate)
    hers = as_person("alice")
    hers.goto(f"{embedded.url}/runs/{alice.runs[-1]}/")
    hers.wait_for_selector('#connection[data-state="live"]')
    rita.keyboard.press("q")
    rita.keyboard.type("Who is Anna?")
    rita.get_by_role("button", name="Ask", exact=True).click()
    expect(hers.locator(".wait .remarks")).to_contain_text("Who is Anna?")
    hers.get_by_label("Your answer").fill("Our customer.")
    hers.get_by_role("button", name="Answer", exact=True).click()
    expect(rita.locator("[data-remarks]")).to_contain_text("Our customer.")
    expect(rita.locator("[data-remarks]")).not_to_contain_text("no answer yet")
    hers.get_by_role("button", name="Take this request back").click()
    expect(rita.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "withdrawn")


@pytest.mark.parametrize("look", [{}, {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}])
def test_it_all_works_without_scripts_and_for_everybody(
    as_person: Callable[..., Page], alice: Developer, embedded: Site, look: dict[str, object]
) -> None:
    (gate,) = alice.ask(WRITE)
    rita = as_person("rita", java_script_enabled=False, **look)
    rita.goto(f"{embedded.url}/queue/{gate}/")
    rita.click("text=Claim it")
    expect(rita.locator("#claim")).to_contain_text("You have claimed this.")
    rita.click("#masked summary")
    rita.get_by_label("Why do you need to see it?").fill("Checking")
    rita.click("text=Show the value")
    expect(rita.locator("pre.value")).to_have_text(ADDRESS)
    rita.goto(f"{embedded.url}/queue/{gate}/")
    rita.click("summary:has-text('Ask Alice')")
    rita.get_by_label("Your question").fill("Why today?")
    rita.get_by_role("button", name="Ask", exact=True).click()
    expect(rita.locator("[data-remarks]")).to_contain_text("Why today?")
    rita.click("summary:has-text('Answer in the tool')")
    rita.get_by_label("What the agent is told").fill("It was sent yesterday.")
    rita.click("text=Send the answer")
    expect(rita.locator(".outcome")).to_contain_text("answered")
    assert re.search(r"answered", alice.state(gate))


def test_two_questions_are_two_questions_and_ctrl_enter_sends_them(
    live_queue: Callable[..., Page], alice: Developer
) -> None:
    rita = live_queue()
    (gate,) = alice.ask(WRITE)
    select(rita, gate)
    for words in ("Who is Anna?", "Who is Bob?"):
        rita.keyboard.press("q")
        expect(rita.locator("#question")).to_be_focused()
        rita.keyboard.type(words)
        rita.keyboard.press("Control+Enter")
        expect(rita.locator("[data-remarks]")).to_contain_text(words)
        # The field is gone; whoever works by keyboard is where it was opened.
        expect(rita.locator('[data-way="ask"] summary')).to_be_focused()
    expect(rita.locator("[data-remarks] li")).to_have_count(2)


def test_escape_puts_away_what_a_key_has_opened(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    (gate,) = alice.ask(WRITE)
    select(rita, gate)
    for key, way in (("m", "respond"), ("q", "ask")):
        rita.keyboard.press(key)
        rita.keyboard.type("half a thought")
        rita.keyboard.press("Escape")
        expect(rita.locator(f'[data-way="{way}"]')).not_to_have_attribute("open", "")
        expect(rita.locator(f'[data-way="{way}"] summary')).to_be_focused()
    # What was typed is there when it is opened again.
    rita.keyboard.press("m")
    expect(rita.locator("#answer")).to_have_value("half a thought")
