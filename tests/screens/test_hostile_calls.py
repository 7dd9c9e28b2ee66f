"""A call made to mislead is shown exactly: complete, with what can't be seen spelt out, and with nothing executed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from routekit_site.tenancy.models import User
from tests.fixtures.gates import House

ClientOf = Callable[[User], Client]
BIDI, ZERO, BLANK = "\u202e\u2066\u2069\u200f", "\u200b\u200d\ufeff\u00ad", "\u2800\u3164\ufe0f"
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}{% now 'Y' %}</pre></article>"
HOSTILE: dict[str, Any] = {
    "300 lines": "".join(f"line {number}: nothing to see\n" for number in range(300)) + "rm -rf /\n",
    "right to left": f"invoice{BIDI}fdp.exe",
    "zero width": f"ad{ZERO}min{BLANK}",
    "controls": "a\x00b\x1b[31mred\x07\r\nend\x85\u2028\u2029",
    "html and script": SCRIPT,
    "homoglyph host": "https://p\u0430ypal.com/ and https://xn--pypal-4ve.com/",
    "one megabyte": "0123456789abcde\n" * 65_536,
    "imitated escape": "⟦U+202E⟧ and [redacted: email]",
    "nested": {"a": [{"b": [[[{"c": f"deep {BIDI}", "<b>": None, "n": [1, 2.5, True]}]]]}], "": {}},
}


class _Boxes(HTMLParser):
    """The text of every box of a call's arguments, by the argument's name, and the tags of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.tags: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        known = dict(attrs)
        if tag == "pre" and known.get("aria-label") and known.get("class") == "value":
            self._inside = known["aria-label"] or ""
            self.texts[self._inside] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] += data


def as_seen(page: str) -> _Boxes:
    """The page as a browser would parse it."""
    boxes = _Boxes()
    boxes.feed(page)
    return boxes


def unescaped(shown: str) -> str:
    """What a reader who knows the escapes reads."""
    return re.sub(r"⟦U\+([0-9A-F]{4,6})⟧", lambda found: chr(int(found[1], 16)), shown)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_run_is_shown_exactly_and_nothing_of_it_is_hidden(
    client_of: ClientOf, house: House, name: str
) -> None:
    value = HOSTILE[name]
    # A neighbour makes each value one of a box of its own, whatever its length.
    value = value if not isinstance(value, str) or "\n" in value else f"{value}\n{value}\n"
    plain = isinstance(value, str)
    text = value if plain else "two\nlines\n"
    opened = house.open({"path": "a.txt", "text": text, **({} if plain else {"more": value})})
    answer = client_of(house.cast.rita).get(f"/queue/{opened.gate.pk}/")
    assert answer.status_code == 200
    seen = as_seen(answer.content.decode())
    shown = seen.texts["text" if plain else "more"]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u2028\u2029\ufeff\u00ad\x00\x1b\x07\x85]", shown)
    if name == "imitated escape":
        # The bracket itself is escaped, so a text can't pretend to hold an escape; its chip is text of the call.
        assert shown.count("⟦U+27E6⟧") == 2
    elif plain:
        assert unescaped(shown) == value
    else:
        assert json.loads(unescaped(shown)) == value


def test_nothing_of_a_hostile_call_becomes_markup(client_of: ClientOf, house: House) -> None:
    harmless = house.open({"path": "a.txt", "text": "one\ntwo\n", "more": {"a": "b\nc"}})
    hostile = house.open({"path": SCRIPT[:40], "text": f"{SCRIPT}\n{SCRIPT}\n", "more": {SCRIPT: f"{SCRIPT}\n"}})
    client = client_of(house.cast.rita)
    page = client.get(f"/queue/{hostile.gate.pk}/").content.decode()
    tags = as_seen(page).tags
    assert tags.count("script") == as_seen(client.get(f"/queue/{harmless.gate.pk}/").content.decode()).tags.count(
        "script"
    )
    assert "img" not in tags
    assert tags.count("article") == 1
    assert "49" not in as_seen(page).texts["text"]
    assert "{{ 7*7 }}" in as_seen(page).texts["text"]


def test_a_megabyte_is_neither_cut_nor_in_the_way_of_a_decision(client_of: ClientOf, house: House) -> None:
    opened = house.open({"path": "a.txt", "text": HOSTILE["one megabyte"]})
    client = client_of(house.cast.rita)
    page = client.get(f"/queue/{opened.gate.pk}/").content.decode()
    assert "1048576 characters, 65536 lines" in page
    assert "Long text, to be read to its end: text." in page
    house.decide(opened, house.cast.rita)
    assert opened.fresh().state == "approved"
