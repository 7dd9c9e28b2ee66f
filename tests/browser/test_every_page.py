"""Every page, light and dark, wide and narrow: no accessibility violation; the page fixture sees to CSP and console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LOOKS, Developer, armed, select
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

Violations = Callable[[Page], list[str]]


@pytest.fixture(params=list(LOOKS))
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the browser wants pages to look."""
    return LOOKS[request.param]


def _fits(page: Page) -> bool:
    """Whether nothing sticks out to the side."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def test_sign_in(
    new_page: Callable[..., Page], embedded: Site, accessibility_violations: Violations, look: dict[str, Any]
) -> None:
    page = new_page(**look)
    page.goto(f"{embedded.url}/sign-in/")
    expect(page.get_by_role("button", name="Rita")).to_be_visible()
    assert accessibility_violations(page) == []
    page.fill("#id_username", "rita")
    page.fill("#id_password", "wrong")
    page.click("button.main")
    expect(page.get_by_role("alert")).to_contain_text("correct username")
    assert accessibility_violations(page) == []
    assert _fits(page)


def test_jobs_and_runs(
    as_person: Callable[..., Page], alice: Developer, accessibility_violations: Violations, look: dict[str, Any]
) -> None:
    alice.ask(("read_file", {"path": "notes.txt"}))
    page = as_person("alice", **look)
    for address in ("/jobs/", "/jobs/?q=nothing+like+it", "/jobs/new/", f"/runs/{alice.runs[-1]}/"):
        page.goto(page.url.split("/jobs")[0].split("/runs")[0] + address)
        page.wait_for_selector("h1")
        assert accessibility_violations(page) == [], address
        assert _fits(page), address
    # An error at the field, what was typed still there.
    page.goto(page.url.split("/runs")[0] + "/jobs/new/")
    page.fill("#id_prompt", "   ")
    with page.expect_response("**/jobs/new/"):
        page.click("button.main")
    expect(page.locator("#prompt-error")).to_contain_text("Write what the agent should do.")
    assert accessibility_violations(page) == []


@pytest.fixture
def refused(complaints: Any) -> None:
    """Chromium logs every answer of 4xx: these are asked for."""
    complaints.expect("the server responded with a status of 4")


pytestmark = pytest.mark.usefixtures("refused")


def test_a_replay_and_the_pages_of_traces(
    as_person: Callable[..., Page], alice: Developer, accessibility_violations: Violations, look: dict[str, Any]
) -> None:
    run = alice.submit('calculator {"expression": "1 + 1"}')
    eventually(lambda: alice.run(run)["state"] == "succeeded", within=60, what="the end of the run")
    alice.ask(("write_file", {"path": "a-long-way/to-a-file-of-some-length.txt", "text": "one"}))
    other = alice.runs[-1]
    page = as_person("adam", **look)
    site = page.url.split("/queue")[0].split("/jobs")[0]
    trace = f"/admin/traces/trace/{run}"
    lists = ("/admin/traces/trace/", f"/admin/traces/trace/?q={run}&state=failed", "/admin/traces/ledgerentry/")
    pages = (f"{trace}/change/", f"{trace}/compare/?with={other}", f"{trace}/export/", "/admin/traces/trace/analysis/")
    settings = [f"/admin/traces/{name}policy/add/" for name in ("redaction", "encryption", "retention")]
    waiting = f"/admin/traces/trace/{other}/change/"
    for address in (f"/runs/{run}/replay/", *lists, *pages, waiting, *settings):
        page.goto(site.rstrip("/") + address)
        page.wait_for_selector("h1")
        assert accessibility_violations(page) == [], address
        assert _fits(page), address
    page.goto(f"{site.rstrip('/')}/admin/traces/ledgerentry/")
    page.click("#result_list tbody tr:first-child a")
    page.wait_for_selector(".field-facts_shown")
    assert accessibility_violations(page) == []
    assert _fits(page)
    page.goto(f"{site.rstrip('/')}{trace}/export/")
    page.click("[name=link]")
    page.wait_for_selector("code:text('/shared/traces/')")
    assert accessibility_violations(page) == []
    assert _fits(page)


def test_the_queue(
    as_person: Callable[..., Page], alice: Developer, accessibility_violations: Violations, look: dict[str, Any]
) -> None:
    page = as_person("rita", **look)
    page.wait_for_selector('#connection[data-state="live"]')
    assert accessibility_violations(page) == []
    gate, risky = alice.ask(("write_file", {"path": "a11y.txt", "text": "one\ntwo\u202e\n"}), alice.risky())
    page.locator(f'.row[data-id="{risky}"]').wait_for()
    assert accessibility_violations(page) == []
    assert _fits(page)
    if "viewport" in look:
        # On a phone a row is a link to the call's own page.
        page.click(f'.row[data-id="{gate}"] a')
        page.wait_for_url(f"**/queue/{gate}/")
        armed(page)
    else:
        select(page, gate)
    assert accessibility_violations(page) == []
    assert _fits(page)
    page.keyboard.press("r")
    expect(page.locator("#reason")).to_be_focused()
    assert accessibility_violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    assert accessibility_violations(page) == []


def test_the_kill_switch(
    as_person: Callable[..., Page], embedded: Site, accessibility_violations: Violations, look: dict[str, Any]
) -> None:
    page = as_person("adam", **look)
    pages = f"{embedded.url}/admin/tenancy/halt/"

    def sound() -> None:
        assert accessibility_violations(page) == [], page.url
        assert _fits(page), page.url

    page.goto(f"{pages}add/")
    sound()
    page.click("input[type=submit].default")
    sound()
    try:
        page.get_by_label("Stop").select_option(label="every agent of Acme")
        page.get_by_label("Reason").fill("The browser tests look at this page.")
        page.click("input[type=submit].default")
        page.wait_for_url(pages)
        expect(page.locator("#halts")).to_contain_text("The browser tests look at this page.")
        sound()
        page.goto(f"{embedded.url}/queue/")
        expect(page.locator("#halts")).to_contain_text("Stopped:")
        sound()
        page.goto(pages)
        page.locator("#result_list input.action-select").first.check()
        page.select_option("select[name=action]", "lift")
        page.get_by_role("button", name="Go").or_(page.get_by_role("button", name="Run")).first.click()
        expect(page.locator(".messagelist")).to_contain_text("Lifted:")
        expect(page.locator("#halts .halt")).to_have_count(0)
        sound()
    finally:
        embedded.manage("resume", "--tenant", "acme", check=False)


def test_errors(as_person: Callable[..., Page], accessibility_violations: Violations, look: dict[str, Any]) -> None:
    page = as_person("alice", **look)
    site = page.url.split("/jobs")[0]
    for address, words in (("/nothing/", "Nothing here"), ("/queue/", "Not with your role")):
        page.goto(site + address)
        expect(page.get_by_role("heading", level=1)).to_have_text(words)
        assert accessibility_violations(page) == []
        assert _fits(page)


def test_the_theme_switch_wins_over_the_system_and_is_remembered(as_person: Callable[..., Page]) -> None:
    page = as_person("rita", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    for _ in range(2):
        page.click("#theme")
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: dark")
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark


def test_members_and_invitations(
    as_person: Callable[..., Page], accessibility_violations: Violations, look: dict[str, Any]
) -> None:
    page = as_person("adam", **look)
    root = page.url.split("/", 3)[:3]
    page.goto("/".join([*root, "members/"]))
    expect(page.get_by_role("heading", name="Rita Rossi")).to_be_visible()
    page.get_by_label("reviewer sees all jobs").check()
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_label("A link for one person").input_value()
    assert accessibility_violations(page) == []
    assert _fits(page)
    page.get_by_role("link", name="Remove… Rita Rossi").click()
    expect(page.get_by_role("heading", name="Remove Rita Rossi?")).to_be_visible()
    assert accessibility_violations(page) == []
    stranger = as_person("ravi", **look)
    stranger.goto(link)
    expect(stranger.get_by_role("heading", name="Join Acme?")).to_be_visible()
    assert accessibility_violations(stranger) == []
    assert _fits(stranger)
    page.goto("/".join([*root, "members/"]))
    page.get_by_role("button", name="Withdraw the invitation as reviewer").first.click()
    expect(page.get_by_text("The invitation is withdrawn")).to_be_visible()
