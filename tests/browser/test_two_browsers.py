"""Two browsers decide one call at the same moment: one wins, and the other reads who it was."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Race:
    """Two people with one call open, each in a browser of their own."""

    pages: tuple[Page, Page]
    names: tuple[str, ...]
    gate: str

    def line_up(self) -> None:
        """Choose the call in both."""
        for page in self.pages:
            page.evaluate(CLICK, self.gate)

    def run(self, alice: Developer) -> None:
        """Press A in both at once: exactly one wins, and the other reads who it was."""
        for page in self.pages:
            page.wait_for_selector(f'#gate[data-id="{self.gate}"]:not([aria-busy="true"])')
            armed(page)
        for page in self.pages:
            page.evaluate(PRESS)
        for page in self.pages:
            expect(page.locator(f'.row[data-id="{self.gate}"]')).to_have_attribute("data-state", "approved")
        decided: Any = alice.client.get(f"/queue/{self.gate}.json").json()
        assert decided["state"] in {"approved", "spent"}
        winners = [name for name in self.names if name in decided["outcome"]]
        assert len(winners) == 1, decided["outcome"]
        loser = self.pages[1 - self.names.index(winners[0])]
        expect(loser.locator(f'#gate[data-id="{self.gate}"] .outcome')).to_contain_text(f"by {winners[0]}")


@pytest.mark.parametrize("rounds", [2, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_exactly_one_wins_and_the_loser_reads_who(
    embedded: Site, as_person: Callable[..., Page], alice: Developer, complaints: Complaints, rounds: int
) -> None:
    # The loser's 409 is in the console.
    complaints.expect("409")
    gates = demo_gates(embedded, rounds)
    # Two races at a time: one waits for the guard's 600 ms while the other is run.
    tables = [(as_person("rita"), as_person("adam")) for _ in range(2)]
    for page in (page for table in tables for page in table):
        page.goto(f"{embedded.url}/queue/")
        page.wait_for_selector('#connection[data-state="live"]')
        page.locator(f'.row[data-id="{gates[-1]}"]').wait_for(state="attached")
    names = tuple(page.locator("body").get_attribute("data-name") or "" for page in tables[0])
    races = [Race(tables[number % 2], names, gate) for number, gate in enumerate(gates)]
    races[0].line_up()
    for this, following in itertools.zip_longest(races, races[1:]):
        if following is not None:
            following.line_up()
        this.run(alice)
