"""One byte string for one JSON value, so that equal values have equal digests (RFC 8785, JCS). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import rfc8785

from approvals.errors import NotCanonical
from traces.canonical import canonical_bytes, quick_bytes

if TYPE_CHECKING:
    from approvals.types import JSONValue


def thawed(value: JSONValue) -> JSONValue:
    """The value with plain dicts and lists in place of frozen mappings and tuples."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thawed(item) for item in value]
    return value


def canonical(value: JSONValue) -> bytes:
    """The canonical JSON of a value: sorted keys, no spaces, shortest numbers, UTF-8.

    Raises:
        NotCanonical: not JSON: NaN, an integer beyond 2**53 - 1, a key that is no string, a lone surrogate.
    """
    try:
        found = quick_bytes(value)
        return canonical_bytes(thawed(value)) if found is None else found
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        message = f"The value has no canonical JSON: {error}."
        raise NotCanonical(message) from error


def digest(value: JSONValue) -> str:
    """SHA-256 of the canonical JSON, 64 hex digits. Raises as `canonical` does."""
    return hashlib.sha256(canonical(value)).hexdigest()
