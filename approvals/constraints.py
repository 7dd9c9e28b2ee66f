"""Whether a call's arguments meet argument constraints. Pure. Whatever can't be compared is not met.

Paths and hosts are compared in canonical form (`approvals.places`), everything else as JSON: `true` is not 1, `"1"` is
not 1, 1 is 1.0. A glob's `*` and `?` stop at `/`, `**` does not; both are case-sensitive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import re2

from approvals.canonical import digest
from approvals.errors import NotCanonical
from approvals.places import host_of, host_pattern, path_of
from approvals.types import ArgumentConstraint, ConstraintKind, JSONValue

MISSING: Final = object()
MAX_POINTER_SHOWN: Final = 80
_MOST_DECODED: Final = 5
_STEP_UP: Final = re.compile(r"(?:^|[/\\])\.\.(?:;[^/\\]*)?(?:[/\\?#]|\Z)")


def value_at(arguments: JSONValue, keys: tuple[str, ...]) -> JSONValue:
    """The value that a JSON pointer's reference tokens lead to (RFC 6901), or `MISSING`."""
    value = arguments
    for key in keys:
        if type(value) is dict or isinstance(value, Mapping):  # the first is what makes this quick
            value = value.get(key, MISSING)
        elif isinstance(value, list | tuple):
            is_index = key.isascii() and key.isdigit() and (key == "0" or key[0] != "0") and int(key) < len(value)
            value = value[int(key)] if is_index else MISSING
        else:
            return MISSING
    return value


def same(one: JSONValue, other: JSONValue) -> bool:
    """Equality of JSON values."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _matches_glob(value: JSONValue, pattern: JSONValue) -> bool:
    if not isinstance(value, str) or goes_up(value):
        return False
    try:
        return glob(str(pattern)).fullmatch(value) is not None
    except UnicodeEncodeError:
        return False


def _has_prefix(value: JSONValue, prefix: JSONValue) -> bool:
    return isinstance(value, str) and value.startswith(str(prefix)) and not goes_up(value)


def _in_range(value: JSONValue, limits: JSONValue) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = limits.get("min"), limits.get("max")
    return bool((low is None or value >= low) and (high is None or value <= high) and value == value)  # noqa: PLR0124 - NaN


def _is_one_of(value: JSONValue, choices: JSONValue) -> bool:
    return any(same(value, choice) for choice in choices)


def _has_host_in(value: JSONValue, entries: JSONValue) -> bool:
    host = host_of(value) if isinstance(value, str) else None
    if host is None:
        return False
    return any(pattern is not None and pattern.covers(host) for pattern in map(host_pattern, entries))


def _is_under(value: JSONValue, base: JSONValue) -> bool:
    path = path_of(value) if isinstance(value, str) else None
    folder = path_of(str(base))
    return path is not None and folder is not None and path.is_under(folder)


def _has_digest(value: JSONValue, wanted: JSONValue) -> bool:
    try:
        return bool(digest(value) == wanted)
    except NotCanonical:
        return False


_COMPARISONS: Final[Mapping[ConstraintKind, Callable[[JSONValue, JSONValue], bool]]] = {
    ConstraintKind.EXACT: same,
    ConstraintKind.GLOB: _matches_glob,
    ConstraintKind.PREFIX: _has_prefix,
    ConstraintKind.RANGE: _in_range,
    ConstraintKind.ONE_OF: _is_one_of,
    ConstraintKind.HOST_IN: _has_host_in,
    ConstraintKind.PATH_UNDER: _is_under,
    ConstraintKind.DIGEST: _has_digest,
}


def goes_up(text: str) -> bool:
    """Whether a text read as a path could leave what its beginning promises, or be cut short at a NUL.

    Web servers take percent-encoded dots, slashes and NULs for the characters themselves, some more than once, and
    some leave out what follows a semicolon (`..;`).
    """
    for _ in range(_MOST_DECODED):
        if "\0" in text or (".." in text and _STEP_UP.search(text)):
            return True
        decoded = unquote(text) if "%" in text else text
        if decoded == text:
            return False
        text = decoded
    return True


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re2._Regexp:
    """The pattern as a linear-time regular expression (RE2: no bait can make it slow)."""
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    wild = {"**": r"(?s:.*)", "*": "[^/]*", "?": "[^/]"}
    return re2.compile("".join(wild.get(part) or re2.escape(part) for part in parts))


def meets(arguments: JSONValue, constraint: ArgumentConstraint) -> bool:
    """Whether the arguments meet one constraint."""
    value = value_at(arguments, constraint.keys)
    return value is not MISSING and _COMPARISONS[constraint.kind](value, constraint.value)


def first_unmet(arguments: JSONValue, constraints: Iterable[ArgumentConstraint]) -> ArgumentConstraint | None:
    """The first constraint that the arguments do not meet, or None."""
    for constraint in constraints:
        if not meets(arguments, constraint):
            return constraint
    return None


_WORDS: Final[Mapping[ConstraintKind, str]] = {
    ConstraintKind.EXACT: "{where} exactly {value}",
    ConstraintKind.GLOB: "{where} like {value}",
    ConstraintKind.PREFIX: "{where} beginning with {value}",
    ConstraintKind.RANGE: "{where} in the range {value}",
    ConstraintKind.ONE_OF: "{where} one of {value}",
    ConstraintKind.HOST_IN: "the host of {where} in {value}",
    ConstraintKind.PATH_UNDER: "{where} under {value}",
    ConstraintKind.DIGEST: "{where} the very same",
}
_MAX_SHOWN = 120


def sentence(constraint: ArgumentConstraint) -> str:
    """The constraint as a person reads it, at most some 200 characters: "`/path` under `"reports"`"."""
    value = json.dumps(constraint.value, ensure_ascii=False)
    shown = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…"
    where = constraint.pointer[:MAX_POINTER_SHOWN] or "/"
    return _WORDS[constraint.kind].format(where=f"`{where}`", value=f"`{shown}`")
