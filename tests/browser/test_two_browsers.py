"""Two browsers decide one call at the same moment: one wins, and the other reads who it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed
from tests.fixtures.browsers import Complaints
from tests.fixtures.compose import PROJECT
from tests.fixtures.processes import Site

CLICK = "id => document.querySelector(`.row[data-id='${id}'] a`).click()"
PRESS = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', bubbles: true}))"


def demo_gates(site: Site, number: int) -> list[str]:
    """The ids of so many waiting calls, opened without a run: a round costs two browsers and nothing else."""
    command = [sys.executable, "-m", "tests.fixtures.demo_gates", str(number)]
    done = subprocess.run(command, cwd=PROJECT, env=site.environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def race(pages: tuple[Page, Page], names: tuple[str, str], alice: Developer, gate: str) -> str:
    """One call, A pressed in both at once; the name of the winner."""
    for page in pages:
        page.evaluate(CLICK, gate)
    for page in pages:
        page.wait_for_selector(f'#gate[data-id="{gate}"]:not([aria-busy="true"])')
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
    expect(loser.locator(f'#gate[data-id="{gate}"] .outcome')).to_contain_text(f"by {winners[0]}")
    return winners[0]


@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_exactly_one_wins_and_the_loser_reads_who(
    embedded: Site, as_person: Callable[..., Page], alice: Developer, complaints: Complaints, rounds: int
) -> None:
    # The loser's 409 is in the console.
    complaints.expect("409")
    gates = demo_gates(embedded, rounds)
    rita, adam = as_person("rita"), as_person("adam")
    adam.goto(rita.url)
    for page in (rita, adam):
        page.wait_for_selector('#connection[data-state="live"]')
        page.locator(f'.row[data-id="{gates[-1]}"]').wait_for(state="attached")
    names = tuple(page.locator("body").get_attribute("data-name") or "" for page in (rita, adam))
    won = [race((rita, adam), (names[0], names[1]), alice, gate) for gate in gates]
    assert len(won) == rounds
