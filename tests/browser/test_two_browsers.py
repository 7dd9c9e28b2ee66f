"""Two browsers decide one call at the same moment: one wins, and the other reads who it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed, select
from tests.fixtures.browsers import Complaints

READ = ("read_file", {"path": "notes.txt"})
PRESS = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', bubbles: true}))"


def race(pages: tuple[Page, Page], names: tuple[str, str], alice: Developer) -> str:
    """One call, A pressed in both at once; the name of the winner."""
    (gate,) = alice.ask(READ)
    for page in pages:
        page.locator(f'.row[data-id="{gate}"]').wait_for()
        select(page, gate)
    for page in pages:
        armed(page)
    for page in pages:
        page.evaluate(PRESS)
    for page in pages:
        expect(page.locator(f'.row[data-id="{gate}"]')).to_have_attribute("data-state", "approved")
    decided: Any = alice.client.get(f"/queue/{gate}.json").json()
    assert decided["state"] in {"approved", "spent"}
    winners = [name for name in names if name in decided["outcome"]]
    assert len(winners) == 1, decided["outcome"]
    loser = pages[1 - names.index(winners[0])]
    expect(loser.locator("#detail .outcome")).to_contain_text(f"by {winners[0]}")
    return winners[0]


@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_exactly_one_wins_and_the_loser_reads_who(
    as_person: Callable[..., Page], alice: Developer, complaints: Complaints, rounds: int
) -> None:
    # The loser's 409 is in the console.
    complaints.expect("409")
    rita, adam = as_person("rita"), as_person("adam")
    adam.goto(rita.url)
    for page in (rita, adam):
        page.wait_for_selector('#connection[data-state="live"]')
    names = tuple(page.locator("body").get_attribute("data-name") or "" for page in (rita, adam))
    won = [race((rita, adam), (names[0], names[1]), alice) for _ in range(rounds)]
    assert len(won) == rounds
