r"""A same-length plain view of a text, so that one set of patterns reads every spelling.

Offsets in the view are offsets in the text. Escapes of JSON and HTML (``\n``, ``\"``, ``@``, ``%40``, ``&#64;``)
become the character they stand for, padded with ``FILLER``; full-width forms, foreign digits, exotic spaces and dashes
become ASCII. A token glued to an escape (``\nAKIA…``) or written in full-width digits is then found like any other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

FILLER = "\x1a"

# Each pattern begins with a literal, so that the search skips to one.
_ESCAPES = re.compile(r"\\\\{0,15}(?:u([0-9a-fA-F]{4})|([\"'/nrtbf]))")
_ENTITIES = re.compile(r"&#(?:64|[xX]40);")
_WHITESPACE_ESCAPES = "nrtbf"
_SPARSE = 200  # a text with fewer escapes than one in so many characters is read line by line
_SAMPLE = 4_000  # characters behind the first escape that tell how many there are
_COMMON_ESCAPES = (
    ('\\"', '"' + FILLER),
    ("\\n", "\n\n"),
    ("\\t", "  "),
    ("\\r", "\n\n"),
)
_FOREIGN_CHARACTERS = (
    "\xa0\xad\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u09e6-\u09ef\u0e50-\u0e59\u2000-\u200f\u2010-\u2015\u202f\u2044\u205f\u2060"
    "\u2212\u3000\ufe63\ufeff\uff0b\uff0d-\uff1a\uff1d\uff20-\uff3a\uff3f\uff41-\uff5a"
)
_FOREIGN = re.compile(f"[{_FOREIGN_CHARACTERS}]")
_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63")
_INVISIBLE = frozenset("\xad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")


def _plain(character: str) -> str:
    if character in _DASHES:
        return "-"
    if character in _INVISIBLE:
        return FILLER
    plain = unicodedata.normalize("NFKC", character)
    if plain.isdecimal():
        return str(unicodedata.decimal(plain))
    return plain if len(plain) == 1 and plain.isascii() else " "


_PLAIN = {character: _plain(character) for character in map(chr, range(0xA0, 0x10000)) if _FOREIGN.match(character)}


def canonical_view(text: str) -> str:
    """Return ``text`` with every escape and look-alike written plainly; always of the same length."""
    # By one character and not by "&#": to look for two takes many times as long.
    view = _lines_with("&", _without_entities, text)
    view = _lines_with("\\", _without_escapes, view)
    view = _lines_with("%", _without_percents, view)
    if not view.isascii():
        # By lines, most of which need nothing: to ask a line is quicker than to read it.
        view = "\n".join([line if line.isascii() else _FOREIGN.sub(_to_ascii, line) for line in view.split("\n")])
    return view


def _lines_with(sign: str, plain: Callable[[str], str], text: str) -> str:
    """Apply ``plain``, which reads no further than a line, to the lines of ``text`` that hold ``sign``."""
    position = text.find(sign)
    if position < 0:
        return text
    if text.count(sign, position, position + _SAMPLE) * _SPARSE > _SAMPLE:
        return plain(text)
    parts: list[str] = []
    done = 0
    while position >= 0:
        start = text.rfind("\n", done, position) + 1
        end = text.find("\n", position)
        if end < 0:
            end = len(text)
        parts += (text[done:start], plain(text[start:end]))
        done = end
        position = text.find(sign, end)
    parts.append(text[done:])
    return "".join(parts)


def _without_entities(text: str) -> str:
    return _ENTITIES.sub(_at_sign, text)


def _without_escapes(text: str) -> str:
    for escape, plain in _COMMON_ESCAPES:
        text = text.replace(escape, plain)
    return _ESCAPES.sub(_unescape, text)


def _without_percents(text: str) -> str:
    return text.replace("%40", "@" + FILLER * 2).replace("%2540", "@" + FILLER * 4)


def scan_bytes(view: str) -> bytes:
    """Return ``view`` as one byte a character (``?`` for what is not ASCII), so that byte offsets are offsets."""
    return view.encode("ascii", "replace")


def _unescape(match: re.Match[str]) -> str:
    width = match.end() - match.start()
    if match[1]:
        character = chr(int(match[1], 16))
        return character + FILLER * (width - 1)
    if match[2] in _WHITESPACE_ESCAPES:
        return ("\n" if match[2] in "nr" else " ") * width
    return match[2] + FILLER * (width - 1)


def _at_sign(match: re.Match[str]) -> str:
    return "@" + FILLER * (match.end() - match.start() - 1)


def _to_ascii(match: re.Match[str]) -> str:
    return _PLAIN[match[0]]
