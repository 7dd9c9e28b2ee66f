"""How stored text, times and amounts become HTML."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils.timezone import now

from routekit_site.tenancy.templatetags import screens


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        (None, ""),
        (7, "7"),
        ("it's <b>", "it&#x27;s &lt;b&gt;"),
        ("to [redacted: email].", f"to {screens._chip('redacted: email')}."),
        ("[redacted]", screens._chip("redacted")),
        ("[redaction failed]", screens._chip("redaction failed")),
        ("[redacted: <b>]", screens._chip("redacted: <b>")),
        ("[redacted: two\nlines]", "[redacted: two\nlines]"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("a\u202eb", f"a{screens._escape(chr(0x202E))}b"),
        ("\u2800\ufe0f", f"{screens._escape(chr(0x2800))}{screens._escape(chr(0xFE0F))}"),
        ("\r", screens._escape("\r")),
        ("ünïcode 漢字 🙂", "ünïcode 漢字 🙂"),
    ],
)
def test_text_is_escaped_with_chips_and_code_points(text: object, html: str) -> None:
    assert str(screens.shown(text)) == html


def test_a_chip_cannot_carry_markup() -> None:
    assert "<b>" not in screens.shown("[redacted: <b>]")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("`write_file` needs approval", "<code>write_file</code> needs approval"),
        ("`a` and `b`, not `", "<code>a</code> and <code>b</code>, not `"),
        ("`<script>` ``", "<code>&lt;script&gt;</code> ``"),
        ("`a [redacted: email] b`", f"`a {screens._chip('redacted: email')} b`"),
        ("none", "none"),
    ],
)
def test_what_stands_between_backticks_is_shown_as_code(text: str, html: str) -> None:
    assert str(screens.coded(screens.shown(text))) == html
    assert str(screens.coded(screens.segments([{"kind": "text", "text": "`<b>`"}]))) == "<code>&lt;b&gt;</code>"
    assert str(screens.coded("<i>")) == "&lt;i&gt;"


def test_the_segments_of_a_presentation_are_shown_in_order() -> None:
    found = [
        {"kind": "text", "text": "a <b> "},
        {"kind": "chip", "label": "email", "mark": "ab12cd34ef56ab12"},
        {"kind": "chip", "label": "value", "mark": ""},
        {"kind": "escape", "code": "U+200B", "name": "ZERO WIDTH SPACE", "text": "⟦U+200B⟧"},
        {"kind": "of the future", "text": "<i>"},
    ]
    html = screens.segments(found)
    assert html.startswith("a &lt;b&gt; <span")
    assert "same mark ab12cd" in html
    assert "[redacted: value]" in html
    assert 'title="ZERO WIDTH SPACE">⟦U+200B⟧' in html
    assert html.endswith("&lt;i&gt;")


def test_the_lines_of_a_difference_are_rows_and_their_text_stays_text() -> None:
    def text(said: str) -> list[dict[str, str]]:
        return [{"kind": "text", "text": said}]

    chip = [{"kind": "chip", "label": "email"}]
    lines: list[dict[str, Any]] = [
        {"op": "@", "old": None, "new": None, "segments": text("@@ -0,0 +1,1 @@")},
        {"op": " ", "old": 0, "new": 3, "segments": text("as & before")},
        {"op": "-", "old": 4, "new": None, "segments": []},
        {"op": "+", "old": None, "new": "<i>", "segments": [*text("</td><b>"), *chip]},
        {"op": "<", "old": None, "new": None, "segments": []},
    ]
    hostile = '&lt;/td&gt;&lt;b&gt;<span class="chip" title="masked">[redacted: email]</span>'
    assert screens.rows(lines).split("</tr>") == [
        '<tr class="hunk"><td></td><td></td><td class="op"></td><td class="text">@@ -0,0 +1,1 @@</td>',
        '<tr class="same"><td>0</td><td>3</td><td class="op"> </td><td class="text">as &amp; before</td>',
        '<tr class="removed"><td>4</td><td></td><td class="op">-</td><td class="text"></td>',
        f'<tr class="added"><td></td><td>&lt;i&gt;</td><td class="op">+</td><td class="text">{hostile}</td>',
        '<tr class="same"><td></td><td></td><td class="op">&lt;</td><td class="text"></td>',
        "",
    ]


@pytest.mark.parametrize(
    ("seconds", "two", "one"),
    [
        (-5, "0 s", "0 s"),
        (0.9, "0 s", "0 s"),
        (59, "59 s", "59 s"),
        (60, "1 min", "1 min"),
        (61, "1 min 1 s", "1 min"),
        (3_599, "59 min", "59 min"),
        (3_600, "1 h", "1 h"),
        (12_000, "3 h 20 min", "3 h"),
        (90_000, "1 d 1 h", "1 d"),
        (1_000_000, "11 d", "11 d"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, two: str, one: str) -> None:
    assert screens.duration(seconds) == two
    assert screens.duration(seconds, units=1) == one


@pytest.mark.parametrize(
    ("ahead", "mode", "words"),
    [
        (-65, "ago", "1 min 5 s ago"),
        (0, "ago", "just now"),
        (65, "ago", "in 1 min 5 s"),
        (-65, "age", "1 min"),
        (-65, "so-far", "1 min 5 s"),
        (65, "left", "1 min 5 s"),
        (65, "left-short", "1 min"),
        (-1, "left", "over"),
        (0, "left-short", "over"),
    ],
)
def test_times_read_as_their_mode_says(ahead: float, mode: str, words: str) -> None:
    assert screens._time_words(ahead, mode) == words


def test_a_time_is_exact_for_machines() -> None:
    at = now() - timedelta(hours=2)
    html = screens.moment(at)
    assert f'datetime="{at.isoformat(timespec="milliseconds")}"' in html
    assert 'data-time="ago">2 h ago</time>' in html
    assert screens.moment(None) == "never"


@pytest.mark.parametrize(
    ("amount", "words"), [(None, "$0.00"), (0, "$0.00"), (13_400, "$0.0134"), (1_500_000, "$1.50")]
)
def test_costs_are_dollars(amount: int | None, words: str) -> None:
    assert screens.dollars(amount) == words


@pytest.mark.parametrize(("amount", "words"), [(None, "not yet"), (12, "12 ms"), (61_000, "1 min 1 s")])
def test_milliseconds_are_readable(amount: int | None, words: str) -> None:
    assert screens.milliseconds(amount) == words
