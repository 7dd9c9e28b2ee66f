"""Arguments as a reviewer may edit them: what is masked is a numbered placeholder, known to the server only. Pure.

A placeholder that stays where it stands is put back by its raw value, without a reveal. It can be deleted; it can't be
forged, doubled, or moved to another value, and nothing around it may change so that the redactor would no longer mask
what it stands for.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from approvals.errors import BadEdit
from approvals.rendering import Renderer, visible

_PLACEHOLDER = re.compile(r"⟦masked \d{1,6}: [^⟦⟧]{0,60}⟧")
_LOOKS_LIKE_ONE = re.compile(r"⟦\s*masked", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
_ESCAPE = re.compile(r"⟦U\+([0-9A-F]{4,6})⟧")
_SURROGATES = range(0xD800, 0xE000)
_BRACKETS = str.maketrans("", "", "⟦⟧")


@dataclass(frozen=True)
class Mask:
    """What one placeholder stands for: a range of the text at `pointer`, or (`whole`) the value there, of any type."""

    pointer: str
    raw: Any
    whole: bool


@dataclass(frozen=True)
class Kept:
    """A placeholder that was put back: where its raw value stands now. `end` is None for a whole value."""

    placeholder: str
    pointer: str
    start: int
    end: int | None


@dataclass
class Masked:
    """`values` are fit for a browser; `masks` are by placeholder; `covered` has the hidden ranges of each text."""

    values: Any = None
    masks: dict[str, Mask] = field(default_factory=dict)
    covered: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)

    def add(self, pointer: str, raw: Any, label: str, *, whole: bool) -> str:
        """The placeholder of one more hidden value."""
        placeholder = f"⟦masked {len(self.masks) + 1}: {label.translate(_BRACKETS)[:60]}⟧"
        self.masks[placeholder] = Mask(pointer, raw, whole)
        if whole:
            self.hidden.add(pointer)
        return placeholder

    def hides(self, kept: Kept) -> bool:
        """Whether a value that was put back is hidden here."""
        steps = kept.pointer.split("/")
        if any("/".join(steps[:count]) in self.hidden for count in range(1, len(steps) + 1)):
            return True
        position = kept.start
        for start, end in self.covered.get(kept.pointer, []):
            if start <= position < end:
                position = end
        return kept.end is not None and position >= kept.end


def mask(renderer: Renderer, arguments: Mapping[str, Any]) -> Masked:
    """The arguments with a placeholder for whatever the redactor hides. `values` has the shape of `arguments`."""
    masked = Masked()
    ordered = dict(sorted(arguments.items()))
    masked.values = _masked(renderer, masked, ordered, renderer.redact(ordered), "")
    return masked


def unmask(masked: Masked, edited: Mapping[str, Any]) -> tuple[dict[str, Any], list[Kept]]:
    """The edited arguments with raw values in place of the placeholders that stayed, and where they stand.

    Raises:
        BadEdit: a placeholder is unknown, damaged, used twice, or not where it was.
    """
    kept: list[Kept] = []
    values = {name: _unmasked(masked, kept, value, f"/{_step(name)}") for name, value in edited.items()}
    return values, kept


def starred(text: str) -> str:
    """The text with stars for its placeholders, as long as before: what is left was typed by a person."""
    return _PLACEHOLDER.sub(lambda match: "*" * len(match[0]), text)


def escaped(text: str) -> str:
    """The text with what a page would not show, or would reorder, as escapes (`⟦U+202E⟧`); placeholders stay."""
    pieces, last = [], 0
    for match in _PLACEHOLDER.finditer(text):
        pieces += [visible(text[last : match.start()]), match[0]]
        last = match.end()
    return "".join([*pieces, visible(text[last:])])


def unescaped(text: str) -> str:
    """The text that `escaped` was made of; an escape of no character stays as it is."""
    return _ESCAPE.sub(lambda match: _character(int(match[1], 16)) or match[0], text)


def _character(code: int) -> str:
    return chr(code) if code <= sys.maxunicode and code not in _SURROGATES else ""


def check_hidden(renderer: Renderer, masked: Masked, values: Mapping[str, Any], kept: list[Kept]) -> None:
    """Refuse an edit that would uncover a masked value, or send it somewhere else.

    Raises:
        BadEdit: what is around a placeholder was changed so that its value would be shown, or an address was changed
            to another scheme, host or port while a masked value stays in the call.
    """
    again = mask(renderer, values)
    for item in kept:
        if not again.hides(item):
            message = f"Without the text around {item.placeholder} its value would be shown. Put that text back, or "
            raise BadEdit(f"{message}take the placeholder out.", _name(item.pointer))
    before = set(_destinations(_raw(masked), ""))
    known = {destination for _, destination in before}
    for pointer, destination in _destinations(values, ""):
        if kept and destination not in known:
            message = "While a masked value stays in the call it can't be sent to another scheme, host or port."
            raise BadEdit(f"{message} Take the placeholders out first.", _name(pointer))


def _masked(renderer: Renderer, masked: Masked, raw: Any, redacted: Any, pointer: str) -> Any:
    if isinstance(raw, Mapping) and isinstance(redacted, Mapping) and list(raw) == list(redacted):
        return {
            name: _masked(renderer, masked, value, redacted[name], f"{pointer}/{_step(name)}")
            for name, value in raw.items()
        }
    if isinstance(raw, (list, tuple)) and isinstance(redacted, (list, tuple)) and len(raw) == len(redacted):
        return [
            _masked(renderer, masked, old, new, f"{pointer}/{position}")
            for position, (old, new) in enumerate(zip(raw, redacted, strict=True))
        ]
    if isinstance(raw, str) and isinstance(redacted, str):
        return _masked_text(renderer, masked, raw, redacted, pointer)
    if type(raw) is type(redacted) and raw == redacted:
        return raw
    return masked.add(pointer, raw, "value", whole=True)


def _masked_text(renderer: Renderer, masked: Masked, raw: str, redacted: str, pointer: str) -> str:
    parts = renderer.parts(raw, redacted)
    known = "".join(part.raw for part in parts) == raw
    if not known or any(part.label is None and _LOOKS_LIKE_ONE.search(part.raw) for part in parts):
        # A document inside of the text, or text that looks like a placeholder: kept or replaced as a whole.
        return masked.add(pointer, raw, "text", whole=True)
    shown, position = "", 0
    for part in parts:
        end = position + len(part.raw)
        if part.label is None:
            shown += part.raw
        else:
            shown += masked.add(pointer, part.raw, part.label, whole=False)
            masked.covered.setdefault(pointer, []).append((position, end))
        position = end
    return shown


def _unmasked(masked: Masked, kept: list[Kept], value: Any, pointer: str) -> Any:
    if isinstance(value, str):
        return _unmasked_text(masked, kept, value, pointer)
    if isinstance(value, list):
        return [_unmasked(masked, kept, item, f"{pointer}/{position}") for position, item in enumerate(value)]
    if isinstance(value, dict):
        for name in value:
            if _LOOKS_LIKE_ONE.search(name):
                raise BadEdit("A placeholder can't be part of a name.", _name(pointer))
        return {name: _unmasked(masked, kept, item, f"{pointer}/{_step(name)}") for name, item in value.items()}
    return value


def _unmasked_text(masked: Masked, kept: list[Kept], text: str, pointer: str) -> Any:
    built, last = "", 0
    for match in _PLACEHOLDER.finditer(text):
        found = _known(masked, kept, match[0], pointer)
        before = _plain(text[last : match.start()], pointer)
        if found.whole:
            if match[0] != text:
                raise BadEdit(f"{match[0]} stands for the whole value: keep it alone, or replace it.", _name(pointer))
            kept.append(Kept(match[0], pointer, 0, None))
            return found.raw
        built += before
        kept.append(Kept(match[0], pointer, len(built), len(built) + len(found.raw)))
        built += found.raw
        last = match.end()
    return built + _plain(text[last:], pointer)


def _known(masked: Masked, kept: list[Kept], placeholder: str, pointer: str) -> Mask:
    found = masked.masks.get(placeholder)
    if found is None:
        raise BadEdit(f"{placeholder} is not a masked value of this call. Take it out.", _name(pointer))
    if found.pointer != pointer:
        message = f"{placeholder} belongs to {found.pointer} and can't be moved: a masked value stays where it is."
        raise BadEdit(message, _name(pointer))
    if any(item.placeholder == placeholder for item in kept):
        raise BadEdit(f"{placeholder} is there twice. A masked value can be kept once.", _name(pointer))
    return found


def _plain(text: str, pointer: str) -> str:
    if _LOOKS_LIKE_ONE.search(text):
        raise BadEdit("A placeholder is damaged. Put it back as it was, or take it out as a whole.", _name(pointer))
    return text


def _raw(masked: Masked) -> dict[str, Any]:
    """The arguments that were masked."""
    return unmask(masked, masked.values)[0]


def _destinations(value: Any, pointer: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Where values that are addresses lead to, as (pointer, (scheme, host with port)), user names left out."""
    if isinstance(value, str):
        if _ADDRESS.match(value):
            yield pointer, _destination(value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _destinations(item, f"{pointer}/{_step(str(name))}")
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from _destinations(item, f"{pointer}/{position}")


def _destination(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", address
    return parts.scheme.lower(), parts.netloc.rpartition("@")[2].lower()


def _step(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _name(pointer: str) -> str:
    """The argument that a pointer leads into."""
    return pointer.split("/")[1].replace("~1", "/").replace("~0", "~") if pointer else ""
