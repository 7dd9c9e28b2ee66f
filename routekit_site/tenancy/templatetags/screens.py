"""What templates need to show stored text safely: chips, escapes, icons, times."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import datetime
from functools import lru_cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from django import template
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime, now

register = template.Library()

# The redactor's typed tokens (traces.redaction.TYPED_TOKEN; a test holds the two together), and what they are shown as.
_LABELS = (
    "EMAIL|PHONE|CREDIT_CARD|IBAN|US_SSN|PASSPORT|IP|PRIVATE_KEY|JWT|OPENAI_KEY|GITHUB_TOKEN|SLACK_TOKEN|AWS_KEY|AWS_SECRET"
    "|VENDOR_TOKEN|URL_CREDENTIALS|GENERIC_SECRET|CUSTOM"
)
_TYPED = re.compile(rf"(?P<label>{_LABELS})(?::(?P<mark>[a-z2-7]{{16}}))?")
_REDACTED = rf"\[(?:redact(?:ed(?:: ?[^\]\n]{{1,60}})?|ion failed)|REDACTED|(?:{_LABELS})(?::[a-z2-7]{{16}})?)\]"
# Printable by Unicode's categories and yet blank: fillers, the Braille blank, variation selectors.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_SPECIAL = re.compile(f"(?P<token>{_REDACTED})|[{_BLANK}]")
_CODE = re.compile(r"`([^`<>]+)`")
_KINDS = {"+": "added", "-": "removed", "@": "hunk"}
_SECONDS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _chip(label: str) -> SafeString:
    if typed := _TYPED.fullmatch(label):
        mark = f" {typed['mark'][:6]}" if typed["mark"] else ""
        label = f"redacted: {typed['label'].replace('_', ' ').lower()}{mark}"
    return format_html('<span class="chip" title="redacted before it was stored">[{}]</span>', label)


def _escape(character: str) -> SafeString:
    name = unicodedata.name(character, "control character")
    return format_html('<span class="escape" title="{}">⟦U+{}⟧</span>', name, f"{ord(character):04X}")


def _visible(text: str) -> SafeString:
    """`text` escaped for HTML, with every character that a page would not show as its code point."""
    if text.isprintable():
        return conditional_escape(text)
    runs = groupby(text, key=lambda char: char.isprintable() or char in "\n\t")
    pieces = (["".join(run)] if shows else [_escape(char) for char in run] for shows, run in runs)
    return format_html_join("", "{}", ((piece,) for some in pieces for piece in some))


@register.filter
def shown(value: object) -> SafeString:
    """Stored text as HTML: everything escaped, redaction tokens as chips, unseen characters as their code points."""
    text = "" if value is None else str(value)
    parts: list[SafeString] = []
    end = 0
    for match in _SPECIAL.finditer(text):
        special = _chip(match["token"][1:-1]) if match["token"] else _escape(match[0])
        parts += [_visible(text[end : match.start()]), special]
        end = match.end()
    return SafeString("".join([*parts, _visible(text[end:])]))


@register.filter
def coded(html: str) -> SafeString:
    """What `shown` or `segments` made, with the words that stand between backticks as code."""
    return SafeString(_CODE.sub(r"<code>\1</code>", conditional_escape(html)))


@register.filter
def segments(found: list[dict[str, str]]) -> SafeString:
    """The segments of a presentation block (docs/reference/presentation.md) as HTML."""
    return SafeString("".join(_segment(each) for each in found))


@register.filter
def rows(lines: list[dict[str, Any]]) -> SafeString:
    """The lines of a difference (docs/reference/presentation.md) as rows of a table.

    Not in a template: a long file has tens of thousands of lines, for each of which a template takes ten times as long.
    """
    return SafeString("".join(map(_row, lines)))


def _row(line: dict[str, Any]) -> str:
    kind = _KINDS.get(line["op"], "same")
    operation = "" if kind == "hunk" else escape(line["op"])
    numbers = f"<td>{_line_number(line['old'])}</td><td>{_line_number(line['new'])}</td>"
    text = segments(line["segments"])
    return f'<tr class="{kind}">{numbers}<td class="op">{operation}</td><td class="text">{text}</td></tr>'


def _line_number(number: object) -> str:
    return "" if number is None else escape(str(number))


def _segment(segment: dict[str, str]) -> str:
    match segment["kind"]:
        case "chip":
            return _marked_chip(segment["label"], segment.get("mark", ""))
        case "escape":
            return format_html('<span class="escape" title="{}">{}</span>', segment["name"], segment["text"])
        case _:
            return escape(segment["text"])


def _marked_chip(label: str, mark: str) -> SafeString:
    title = f"masked; the same value carries the same mark {mark[:6]}" if mark else "masked"
    return format_html('<span class="chip" title="{}">[redacted: {}]</span>', title, label)


@register.filter
def as_json(value: Any) -> str:
    """A JSON value, indented, in the order it was stored, for reading; goes through `shown` afterwards."""
    return json.dumps(value, indent=2, ensure_ascii=False)


@register.filter
def moment(value: datetime | None, mode: str = "ago") -> SafeString:
    """A point in time as `<time>`: exact in its attributes, in its text as `mode` says, kept current by a script.

    Modes: `ago` ("5 min 3 s ago"), `age` ("5 min"), `so-far` ("5 min 3 s"), `left` ("5 min 3 s", "over" when past) and
    `left-short` ("5 min").
    """
    if value is None:
        return SafeString("never")
    exact = localtime(value)
    return format_html(
        '<time datetime="{}" title="{}" data-time="{}">{}</time>',
        exact.isoformat(timespec="milliseconds"),
        exact.strftime("%d %b %Y, %H:%M:%S %Z"),
        mode,
        _time_words((value - now()).total_seconds(), mode),
    )


def _time_words(ahead: float, mode: str) -> str:
    match mode:
        case "age":
            return duration(-ahead, units=1)
        case "so-far":
            return duration(-ahead)
        case "left" | "left-short":
            return duration(ahead, units=1 if mode == "left-short" else 2) if ahead > 0 else "over"
        case _:
            return relative(ahead)


def duration(seconds: float, *, units: int = 2) -> str:
    """One or two units: `3 h 20 min`, `45 s`; under a minute whole seconds."""
    rest = max(0, int(seconds))
    for position, (size, unit) in enumerate(_SECONDS):
        if rest >= size:
            whole, rest = divmod(rest, size)
            smaller = _SECONDS[position + 1] if position + 1 < len(_SECONDS) else None
            if units > 1 and smaller and rest >= smaller[0] and whole < 10:  # noqa: PLR2004 - "12 d" needs no hours beside it
                return f"{whole} {unit} {rest // smaller[0]} {smaller[1]}"
            return f"{whole} {unit}"
    return "0 s"


def relative(seconds: float) -> str:
    """`just now`, `5 min ago`, `in 2 h`."""
    if abs(seconds) < 1:
        return "just now"
    text = duration(abs(seconds))
    return f"in {text}" if seconds > 0 else f"{text} ago"


@register.filter
def milliseconds(value: int | None) -> str:
    """A duration stored in milliseconds, for reading."""
    if value is None:
        return "not yet"
    return f"{value} ms" if value < 1000 else duration(value / 1000)  # noqa: PLR2004 - milliseconds in a second


@register.filter
def dollars(microdollars: int | None) -> str:
    """Microdollars as dollars: cents where there are any to speak of, else four digits."""
    amount = (microdollars or 0) / 1_000_000
    return f"${amount:.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


@register.filter
def iso(value: datetime) -> str:
    """A point in time in ISO 8601, to the millisecond, as JSON has it: scripts order rows by it."""
    return value.isoformat(timespec="milliseconds")


@register.filter
def seconds(value: object) -> str:
    """A duration in seconds, for reading; "none" for what is no number (a template's word for nothing)."""
    if not isinstance(value, int | float):
        return "none"
    return duration(value) if value >= 1 else "under 1 s"


@register.filter
def percent(value: float) -> str:
    """A share from 0 to 1 in whole percent."""
    return f"{value * 100:.0f}\u00a0%"


@register.filter
def words(value: object) -> str:
    """An enumeration's value as words: `timed_out` -> `timed out`."""
    return str(value).replace("_", " ")


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the page's sprite, silent for screen readers; the text beside it says what it means."""
    return format_html('<svg class="icon" aria-hidden="true" focusable="false"><use href="#i-{}"/></svg>', name)


_IMPORTED = re.compile(r"""(?:from|import) "\./([a-z-]+\.js)";""")


@lru_cache(maxsize=32)
def modules_of(entry: str) -> tuple[str, ...]:
    """The modules that a module of ours imports, directly or through others, nearest first."""
    found, todo = [entry], [entry]
    while todo:
        path = finders.find(f"js/{todo.pop(0)}")
        source = Path(path).read_text(encoding="utf-8") if isinstance(path, str) else ""
        fresh = [name for name in dict.fromkeys(_IMPORTED.findall(source)) if name not in found]
        found += fresh
        todo += fresh
    return tuple(found[1:])


@register.simple_tag
def module(entry: str) -> SafeString:
    """A script module of ours, with a hint for each module that it needs: all are fetched at once."""
    hints = format_html_join(
        "", '<link rel="modulepreload" href="{}">', ((static(f"js/{m}"),) for m in modules_of(entry))
    )
    return format_html('{}<script type="module" src="{}"></script>', hints, static(f"js/{entry}"))
