"""A call whose text fills a megabyte: shown to the last character, in a page that stays as it was, and decided."""

from __future__ import annotations

import hashlib
import itertools
import string
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Developer, armed

WIDTHS = {"wide": {"width": 1360, "height": 860}, "phone": {"width": 390, "height": 844}}
SHOWN = """name => {
  const text = document.querySelector(`#gate pre[aria-label="${name}"]`).textContent;
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))
    .then((digest) => [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
}"""
LAYOUT = """() => {
  const bar = document.getElementById("actions").getBoundingClientRect();
  const boxes = [...document.querySelectorAll("#gate pre, #gate .diff")].map((box) => box.clientHeight);
  const sideways = document.documentElement.scrollWidth - innerWidth;
  return { sideways, bottom: bar.bottom - innerHeight, tallest: Math.max(...boxes) };
}"""


def long_text(characters: int) -> str:
    """Lines that are all different, without anything that is masked."""
    words = map("".join, itertools.product(string.ascii_lowercase, repeat=4))
    lines = (f"{word} is a word of four letters, and the next line has another\n" for word in words)
    return "".join(itertools.islice(lines, characters // 64))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_megabyte_of_text_is_shown_exactly_and_can_be_decided(
    as_person: Callable[..., Page], alice: Developer, width: str
) -> None:
    text = long_text(980_000)
    (gate,) = alice.ask(("write_file", {"path": "big.txt", "text": text}))
    rita = as_person("rita", viewport=WIDTHS[width])
    rita.goto(f"{rita.url.split('/queue/')[0]}/queue/{gate}/")
    rita.wait_for_selector(f'#gate[data-id="{gate}"]')
    assert rita.evaluate(SHOWN, "text") == hashlib.sha256(text.encode()).hexdigest()
    expect(rita.locator("#gate")).to_contain_text("Long text, to be read to its end")
    layout = rita.evaluate(LAYOUT)
    assert layout["sideways"] <= 0
    assert layout["bottom"] <= 0, "the action bar is on the screen"
    assert layout["tallest"] <= WIDTHS[width]["height"]
    armed(rita)
    rita.click("#decide .approve")
    expect(rita.locator("#gate .outcome")).to_contain_text("by Rita")
