"""One byte string for one JSON value (RFC 8785, JCS), quickly where the value allows it. Pure."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Any

import orjson
import rfc8785

_LARGEST = 2**53 - 1
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def canonical_bytes(value: Any) -> bytes:
    """The canonical JSON of a value.

    Raises:
        rfc8785.CanonicalizationError: it has none.
        RecursionError: it is nested too deeply.
    """
    found = quick_bytes(value)
    return bytes(rfc8785.dumps(value)) if found is None else found


def quick_bytes(value: Any) -> bytes | None:
    """`canonical_bytes` of a value that is simple enough for Rust, which takes frozen mappings and enums as they are.

    None where it is not: then the reference has to say what it is, in its own words.
    """
    if not _is_simple(value):
        return None
    try:
        return orjson.dumps(value, default=_thawed, option=_SORTED)
    except orjson.JSONEncodeError:
        # Nested too deeply for it, or a lone surrogate.
        return None


def _thawed(value: Any) -> Any:
    if type(value) is MappingProxyType:
        return dict(value)
    raise TypeError


def _is_simple(value: Any) -> bool:  # noqa: PLR0911 - one for each kind, the most common first
    """Whether sorting by bytes and Rust's own numbers are what the RFC asks for: ASCII names, and no fractions."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is dict or kind is MappingProxyType:
        for name, item in value.items():
            if type(name) is not str or not name.isascii():
                return False
            # Most of what there is are texts: no call for them.
            if type(item) is not str and not _is_simple(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(type(item) is str or _is_simple(item) for item in value)
    if kind is int:
        return bool(-_LARGEST <= value <= _LARGEST)
    return isinstance(value, StrEnum)
