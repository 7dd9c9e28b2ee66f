"""The browser's own notices and the count in the title: only when asked for, only when nobody looks, no arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

READ = ("read_file", {"path": "salaries-2031.txt"})
# The real notices, written down; and a tab that can be told that nobody looks at it.
WATCHED = """
window.told = [];
window.away = false;
Object.defineProperty(document, "hidden", { get: () => window.away });
window.Notification = class extends Notification {
  constructor(title, options) {
    super(title, options);
    window.told.push(`${title}: ${options.body}`);
  }
};
"""
TOLD = "A call waits for a decision: read_file (low risk), asked by Files and web"


@pytest.fixture
def rita(as_person: Callable[..., Page], embedded: Site) -> Iterator[Page]:
    """The reviewer, in a browser that lets the site show notices; her settings are put back afterwards."""
    page = as_person("rita", permissions=["notifications"])
    page.add_init_script(WATCHED)
    page.goto(f"{embedded.url}/settings/")
    yield page
    page.goto(f"{embedded.url}/settings/")
    quiet(page, "", "")


def quiet(page: Page, start: str, end: str) -> None:
    """Save other quiet hours; the same time twice means all day."""
    page.get_by_label("From").fill(start)
    page.get_by_label("To", exact=True).fill(end)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def leave(page: Page, address: str) -> None:
    """Open a page and look at something else."""
    page.goto(address)
    page.wait_for_selector('#connection[data-state="live"]')
    page.evaluate("window.away = true")


def told(page: Page) -> list[str]:
    """The notices of the page so far."""
    return list(page.evaluate("window.told"))


def count(page: Page, number: int) -> None:
    """Wait for the count in the header."""
    expect(page.locator("[data-pending-count]")).to_have_text(str(number))


def test_a_call_is_told_to_who_asked_for_it_and_looks_elsewhere(rita: Page, embedded: Site, alice: Developer) -> None:
    button = rita.locator("#notify")
    expect(button).to_have_text("Allow")
    button.click()
    expect(button).to_have_text("Switch off")
    leave(rita, f"{embedded.url}/jobs/")
    count(rita, 0)
    alice.ask(READ)
    count(rita, 1)
    eventually(lambda: told(rita), what="the notice")
    assert told(rita) == [TOLD]
    rita.goto(f"{embedded.url}/settings/")
    button.click()
    expect(button).to_have_text("Allow")
    leave(rita, f"{embedded.url}/jobs/")
    alice.ask(READ)
    count(rita, 2)
    assert told(rita) == [], "switched off"


def test_nothing_is_told_in_quiet_hours_or_to_who_looks(rita: Page, embedded: Site, alice: Developer) -> None:
    rita.locator("#notify").click()
    expect(rita.locator("#notify")).to_have_text("Switch off")
    rita.goto(f"{embedded.url}/jobs/")
    rita.wait_for_selector('#connection[data-state="live"]')
    alice.ask(READ)
    count(rita, 1)
    assert told(rita) == [], "she looks at the page"
    rita.goto(f"{embedded.url}/settings/")
    quiet(rita, "00:00", "00:00")
    leave(rita, f"{embedded.url}/jobs/")
    alice.ask(READ)
    count(rita, 2)
    assert told(rita) == [], "quiet all day"


def test_a_browser_that_refuses_says_how_to_change_that(as_person: Callable[..., Page], embedded: Site) -> None:
    page = as_person("rita")
    page.add_init_script("Object.defineProperty(Notification, 'permission', { get: () => 'denied' });")
    page.goto(f"{embedded.url}/settings/")
    expect(page.locator("#notify-state")).to_contain_text("Your browser refuses notices from this site.")
    expect(page.locator("#notify")).to_be_disabled()


def test_the_title_counts_what_waits(live_queue: Callable[..., Page], alice: Developer) -> None:
    rita = live_queue()
    expect(rita).to_have_title("Queue · RouteKit Site")
    first, _second = alice.ask(READ, READ)
    expect(rita).to_have_title("(2) Queue · RouteKit Site")
    select(rita, first)
    armed(rita)
    rita.keyboard.press("a")
    expect(rita).to_have_title("(1) Queue · RouteKit Site")
    rita.keyboard.press("z")
    expect(rita).to_have_title("(2) Queue · RouteKit Site")
