"""Shapes an event's payload for storage: JSON that every database accepts, of bounded depth and size. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import orjson

JSON: TypeAlias = Any

MAX_DEPTH = 64
MAX_STORED_BYTES = 64 * 1024
MAX_SCANNED_CHARACTERS = 1024 * 1024
# 2**53 - 1: beyond it JSON readers (browsers, RFC 8785) disagree about a number's value.
_MAX_INTEGER = 9_007_199_254_740_991
_MAX_BITS = 1024
_LIMITS = (16_384, 2_048, 256, 64)
_SCALAR_FIELDS = 40
_NOT_KEPT = " characters, not all kept]"
_REMARK = 60

Cut = Callable[[str], str]


def clean_text(text: str) -> str:
    """`text` as both databases and every browser accept it: no NUL, no lone surrogate."""
    if "\x00" in text:
        text = text.replace("\x00", "\u2400")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class _Plain:
    """One walk over a value; counts what it kept, so that a value of any size costs a bounded scan."""

    def __init__(self, cut: Cut, budget: int) -> None:
        self._cut = cut
        self._left = budget

    def of(self, value: object, depth: int = 0) -> JSON:
        """`value` as plain JSON; what can't be one is named by its type."""
        # What nearly every value is; all other classes are asked for one after the other, which takes longer.
        kind = type(value)
        if kind is str:
            return self._text(value)  # type: ignore[arg-type]  # as its type says
        if kind is int:
            return self._integer(value)  # type: ignore[arg-type]  # as above
        if kind is dict or kind is list:
            return self._container(value, depth)
        return self._rarer(value, depth)

    def _rarer(self, value: object, depth: int) -> JSON:
        match value:
            case None | bool():
                plain_value: JSON = value
            case str():
                plain_value = self._text(value)
            case int():
                plain_value = self._integer(value)
            case float():
                plain_value = value if math.isfinite(value) else str(value)
            case bytes() | bytearray() | memoryview():
                plain_value = self._text(bytes(value).decode("utf-8", "replace"))
            case date():
                plain_value = value.isoformat()
            case UUID() | Decimal():
                plain_value = str(value)
            case _:
                plain_value = self._container(value, depth)
        return plain_value

    def _container(self, value: object, depth: int) -> JSON:
        if not isinstance(value, (dict, list, Mapping, tuple, set, frozenset)):
            return f"[{type(value).__name__}]"
        if depth >= MAX_DEPTH:
            return f"[nested deeper than {MAX_DEPTH} levels]"
        if isinstance(value, (dict, Mapping)):
            return self._mapping(value, depth)
        items: list[JSON] = []
        for count, item in enumerate(value):
            if self._left <= 0:
                items.append(f"[{len(value) - count} more items not kept]")
                break
            self._left -= 2
            items.append(self.of(item, depth + 1))
        return items

    def _mapping(self, value: Mapping[Any, object], depth: int) -> dict[str, JSON]:
        fields: dict[str, JSON] = {}
        for count, (key, item) in enumerate(value.items()):
            if self._left <= 0:
                fields["[cut]"] = f"{len(value) - count} more fields not kept"
                break
            self._left -= 4
            # The name first: it must not be the name that falls victim to a big value.
            name = self._text(key if isinstance(key, str) else str(key))
            fields[name] = self.of(item, depth + 1)
        return fields

    def _integer(self, value: int) -> int | str:
        if -_MAX_INTEGER <= value <= _MAX_INTEGER:
            return value if type(value) is int else int(value)
        return str(value) if value.bit_length() <= _MAX_BITS else f"[integer of {value.bit_length()} bits]"

    def _text(self, text: str) -> str:
        whole = len(text)
        if whole > self._left:
            # A plain cut could leave half a card number that no detector knows; `cut` keeps whole values only.
            text = f"{self._cut(clean_text(text[: max(self._left, 0)]))} [{whole}{_NOT_KEPT}"
        self._left -= whole
        return clean_text(text)


def plain(value: object, cut: Cut, budget: int = MAX_SCANNED_CHARACTERS) -> JSON:
    """`value` as JSON without NaN, invalid UTF-8, NUL or endless depth.

    Args:
        value: anything; containers may nest as deep as they like.
        cut: makes the kept beginning of an over-long text safe (a stream redactor that ends before an open value).
        budget: characters kept in all; the rest is replaced by a remark.
    """
    return _Plain(cut, budget).of(value)


def encoded_size(value: JSON) -> int:
    """Bytes of `value` as compact JSON in UTF-8."""
    return len(orjson.dumps(value))


def _whole_size(text: str) -> str:
    """How long a text is; of one that was cut before, how long it was."""
    _, found, told = text[-_REMARK:].rpartition(" [")
    return f" [{told}" if found and told.endswith(_NOT_KEPT) else f" [{len(text)} characters]"


def _shortened(value: JSON, limit: int) -> JSON:
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}…{_whole_size(value)}"
    if isinstance(value, list):
        kept = [_shortened(item, limit) for item in value[:limit]]
        return kept if len(value) <= limit else [*kept, f"[{len(value) - limit} more items]"]
    if isinstance(value, dict):
        return {_shortened(key, limit): _shortened(item, limit) for key, item in list(value.items())[:limit]}
    return value


def _scalars(value: dict[str, JSON]) -> dict[str, JSON]:
    small = {key: item for key, item in value.items() if not isinstance(item, (dict, list))}
    return _shortened(dict(list(small.items())[:_SCALAR_FIELDS]), _LIMITS[-1])  # type: ignore[no-any-return]


def fitted(value: dict[str, JSON]) -> dict[str, JSON]:
    """`value` (plain and redacted) as it is stored: whole up to 64 KB, else cut, with its size and SHA-256.

    A cut payload keeps its shape as far as it fits and says so in the field `truncated`:
    {"bytes": size of the redacted payload, "sha256": hex digest of it}.
    """
    whole = orjson.dumps(value)
    if len(whole) <= MAX_STORED_BYTES:
        return value
    note = {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    for limit in _LIMITS:
        short = {**_shortened(value, limit), "truncated": note}
        if encoded_size(short) <= MAX_STORED_BYTES:
            return short
    return {**_scalars(value), "truncated": note}
