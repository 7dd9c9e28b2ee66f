"""One byte string for one JSON value (RFC 8785, JCS), quickly where the value allows it. Pure."""

from __future__ import annotations

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
    if _is_simple(value):
        try:
            return orjson.dumps(value, option=_SORTED)
        except orjson.JSONEncodeError:
            # Nested too deeply for it, or a lone surrogate: whatever it is, the reference says it in its own words.
            pass
    return bytes(rfc8785.dumps(value))


def _is_simple(value: Any) -> bool:
    """Whether sorting by bytes and Rust's own numbers are what the RFC asks for: ASCII names, and no fractions."""
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and name.isascii() and _is_simple(item) for name, item in value.items())
    if kind is list or kind is tuple:
        return all(map(_is_simple, value))
    if kind is int:
        return bool(-_LARGEST <= value <= _LARGEST)
    return kind is str or kind is bool or value is None
