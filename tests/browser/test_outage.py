"""The server goes away and comes back: rows stay, the page says so, then it shows what happened meanwhile, once."""

from __future__ import annotations

import sys
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, select
from tests.fixtures.browsers import Complaints
from tests.fixtures.processes import Site

READ = ("read_file", {"path": "notes.txt"})


def test_rows_stay_through_an_outage_and_catch_up_after_it(
    own_embedded: Callable[..., Site], new_page: Callable[..., Page], complaints: Complaints
) -> None:
    complaints.expect("WebSocket")
    complaints.expect("ERR_CONNECTION_REFUSED")
    site = own_embedded()
    alice = Developer(site.sign_in("alice"), [])
    (before,) = alice.ask(READ)
    page = new_page(viewport={"width": 1360, "height": 860})
    page.goto(f"{site.url}/sign-in/")
    page.click('button[value="rita"]')
    page.wait_for_selector('#connection[data-state="live"]')
    page.wait_for_selector(f'#gate[data-id="{before}"]')
    site.processes["serve"].stop()
    expect(page.locator("#away")).to_contain_text("No live updates at the moment")
    expect(page.locator(f'.row[data-id="{before}"]')).to_be_visible()
    select(page, before)
    page.keyboard.press("a")
    expect(page.locator(".toast").last).to_contain_text("Nothing was changed")
    site.start("serve", [sys.executable, "manage.py", "serve"])
    site.wait_until_ready()
    (after,) = alice.ask(READ)
    expect(page.locator(f'.row[data-id="{after}"]')).to_have_count(1)
    expect(page.locator("#away")).to_be_hidden()
    expect(page.locator(f'.row[data-id="{before}"]')).to_have_count(1)
    assert alice.state(before) == "pending"
