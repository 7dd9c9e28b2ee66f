"""A newcomer's first right decision, without docs: only what can be read on the pages, and what looks like a button."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site

GOAL = 60.0
LOOKS = {"wide": {"width": 1360, "height": 860}, "phone": {"width": 390, "height": 800}}


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("look", list(LOOKS))
def test_the_first_right_decision_takes_three_clicks_and_no_docs(
    new_page: Callable[..., Page], embedded: Site, alice: Developer, look: str
) -> None:
    (gate,) = alice.ask(("write_file", {"path": f"minutes-{look}.txt", "text": "We meet at the quay at 07:15.\n"}))
    page = new_page(viewport=LOOKS[look])
    page.goto(embedded.url)
    began = time.monotonic()
    page.get_by_role("button", name="Rita").click()
    # What would run is said in words, with the file's new lines, before anything is asked of her.
    if look == "phone":
        page.get_by_role("link", name=f"minutes-{look}.txt").click()
    expect(page.get_by_role("heading", name=f"minutes-{look}.txt")).to_be_visible()
    expect(page.get_by_role("row", name="We meet at the quay at 07:15.")).to_be_visible()
    expect(page.get_by_text("write_file needs approval: it uses filesystem")).to_be_visible()
    armed(page)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved", exact=False).first).to_be_visible()
    assert time.monotonic() - began <= GOAL
    run = alice.runs[-1]
    eventually(lambda: alice.run(run)["state"] == "succeeded", within=60, what="the run that she let go on")
    assert any(call["gate_url"].endswith(f"{gate}/") for step in alice.run(run)["steps"] for call in step["calls"])


def test_a_newcomer_who_finds_it_wrong_can_say_why(
    new_page: Callable[..., Page], embedded: Site, alice: Developer
) -> None:
    alice.ask(("write_file", {"path": "wrong-place.txt", "text": "x\n"}))
    page = new_page(viewport=LOOKS["wide"])
    page.goto(embedded.url)
    page.get_by_role("button", name="Rita").click()
    expect(page.get_by_role("heading", name="wrong-place.txt")).to_be_visible()
    armed(page)
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("button", name="Wrong target").click()
    page.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("Rejected", exact=False).first).to_be_visible()
    run = alice.runs[-1]
    told = eventually(
        lambda: [call for step in alice.run(run)["steps"] for call in step["calls"] if call["state"] == "rejected"],
        within=60,
        what="the rejection in the run",
    )
    assert "Wrong target" in str(told)
