"""A run's page under the keyboard: steps or timeline, from approval to approval, the link."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, csrf_token


@pytest.fixture
def run_page(as_person: Callable[..., Page], embedded: Site, alice: Developer) -> Callable[..., Page]:
    """Open the page of alice's latest run."""

    def opened(name: str = "alice", **options: object) -> Page:
        page = as_person(name, **options)
        page.goto(f"{embedded.url}/runs/{alice.runs[-1]}/")
        page.wait_for_selector('#connection[data-state="live"]')
        return page

    return opened


def test_t_shows_the_steps_the_timeline_or_both_and_is_remembered(
    run_page: Callable[..., Page], alice: Developer
) -> None:
    alice.ask(("read_file", {"path": "notes.txt"}))
    page = run_page()
    steps, timeline = page.get_by_role("region", name="Transcript"), page.get_by_role("region", name="Timeline")
    expect(steps).to_be_visible()
    expect(timeline).to_be_visible()
    page.keyboard.press("t")
    expect(timeline).to_be_hidden()
    expect(steps).to_be_visible()
    page.keyboard.press("T")
    expect(timeline).to_be_visible()
    expect(steps).to_be_hidden()
    page.reload()
    expect(page.get_by_role("button", name="Timeline")).to_have_attribute("aria-pressed", "true")
    expect(steps).to_be_hidden()
    page.keyboard.press("t")
    expect(steps).to_be_visible()
    expect(timeline).to_be_visible()
    page.get_by_role("button", name="Steps").click()
    expect(timeline).to_be_hidden()


def test_the_chosen_view_stays_while_the_run_moves(
    run_page: Callable[..., Page], embedded: Site, alice: Developer
) -> None:
    (gate,) = alice.ask(("read_file", {"path": "notes.txt"}))
    page = run_page()
    page.get_by_role("button", name="Steps").click()
    _reject(embedded, gate)
    expect(page.locator(".run-head .state")).not_to_have_text("waiting")
    expect(page.get_by_role("button", name="Steps")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("region", name="Timeline")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy link")).to_be_visible()


def test_brackets_go_from_approval_to_approval(run_page: Callable[..., Page], embedded: Site, alice: Developer) -> None:
    first, second = alice.ask(("read_file", {"path": "notes.txt"}), ("list_directory", {"path": "."}))
    page = run_page("rita")
    waits = page.locator(".wait")
    for key, number in (("]", 0), ("]", 1), ("]", 0), ("[", 1)):
        page.keyboard.press(key)
        expect(waits.nth(number).get_by_role("link")).to_be_focused()
    for gate in (first, second):
        _reject(embedded, gate)
    run = alice.runs[-1]
    eventually(lambda: alice.run(run)["state"] not in {"waiting", "queued", "running"}, within=60, what="the end")
    page.reload()
    page.keyboard.press("[")
    expect(page.locator(".call").last.locator("summary")).to_be_focused()
    page.keyboard.press("[")
    expect(page.locator(".call").first.locator("summary")).to_be_focused()


def test_a_run_that_asked_nobody_says_so(run_page: Callable[..., Page], alice: Developer) -> None:
    run = alice.submit('calculator {"expression": "1 + 1"}')
    eventually(lambda: alice.run(run)["state"] == "succeeded", within=60, what="the end of the run")
    page = run_page()
    page.keyboard.press("]")
    expect(page.locator(".toast")).to_contain_text("Nothing in this job needed an approval.")


def test_y_copies_the_address_without_what_follows_it(
    run_page: Callable[..., Page], embedded: Site, alice: Developer
) -> None:
    run = alice.submit('calculator {"expression": "1 + 1"}')
    page = run_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"{page.url}?from=mail#main")
    page.keyboard.press("y")
    expect(page.locator(".toast")).to_contain_text("The link is copied.")
    assert page.evaluate("navigator.clipboard.readText()") == f"{embedded.url}/runs/{run}/"


def test_y_shows_the_link_where_the_browser_does_not_let_it_copy(
    run_page: Callable[..., Page], embedded: Site, alice: Developer
) -> None:
    run = alice.submit('calculator {"expression": "1 + 1"}')
    page = run_page()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.keyboard.press("y")
    expect(page.locator(".toast")).to_contain_text(f"{embedded.url}/runs/{run}/")


def test_its_keys_stand_in_the_sheet(run_page: Callable[..., Page], alice: Developer) -> None:
    alice.submit('calculator {"expression": "1 + 1"}')
    page = run_page()
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    for words in ("next approval", "previous approval", "the steps, the timeline, or both", "copy the link"):
        expect(sheet.get_by_text(words, exact=True)).to_be_visible()


def _reject(embedded: Site, gate: str) -> None:
    """Rita says no, from another window."""
    client = embedded.sign_in("rita")
    form = client.get(f"/queue/{gate}/").text
    fields = {name: _hidden(form, name) for name in ("digest", "view_digest", "idempotency_key")}
    sent = {**fields, "csrfmiddlewaretoken": csrf_token(form), "kind": "reject", "reason": "Not this one."}
    headers = {"Referer": str(client.base_url), "Accept": "application/json"}
    client.post(f"/queue/{gate}/decide/", data=sent, headers=headers).raise_for_status()


def _hidden(form: str, name: str) -> str:
    return form.split(f'name="{name}" value="', 1)[1].split('"', 1)[0]
