"""Argument constraints as somebody wrote them, checked before they are saved. Pure.

A constraint that can't be read, that points at no argument of the tool, or that nothing can meet together with the
others is refused here, with a sentence that says which one and why.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from approvals.constraints import MISSING, first_unmet, sentence, value_at
from approvals.errors import BadConstraint
from approvals.places import host_pattern, path_of
from approvals.types import ArgumentConstraint, ConstraintKind, JSONValue

MAX_CONSTRAINTS = 50
MAX_TEXT = 2000
_TEXT_KINDS = {ConstraintKind.GLOB, ConstraintKind.PREFIX, ConstraintKind.HOST_IN, ConstraintKind.PATH_UNDER}
_FINITE = {ConstraintKind.EXACT, ConstraintKind.ONE_OF}
_URL_PARTS = 3

_EXAMPLE = '[{"pointer": "/path", "kind": "path_under", "value": "reports"}]'
_NOT_A_LIST = f"Constraints are a JSON list, such as [] or {_EXAMPLE}."

Schema = Mapping[str, Any]


def checked(raw: JSONValue, *, argument_schema: Schema | None = None) -> tuple[ArgumentConstraint, ...]:
    """The constraints that `raw` (a JSON list of objects with pointer, kind, value) spells.

    Raises:
        BadConstraint: with every problem found; each names the constraint by its place in the list, from 1.
    """
    if not isinstance(raw, list | tuple):
        raise BadConstraint([_NOT_A_LIST])
    if len(raw) > MAX_CONSTRAINTS:
        raise BadConstraint([f"At most {MAX_CONSTRAINTS} constraints are taken."])
    read: list[ArgumentConstraint] = []
    problems: list[str] = []
    for number, entry in enumerate(raw, start=1):
        try:
            read.append(ArgumentConstraint.model_validate(entry))
        except ValidationError as error:
            problems += [f"Constraint {number}: {_shape_problem(item)}" for item in error.errors()]
        else:
            problems += [f"Constraint {number}: {text}" for text in _value_problems(read[-1])]
            problems += [f"Constraint {number}: {text}" for text in _schema_problems(read[-1], argument_schema)]
    problems = problems or contradictions(tuple(read))
    if problems:
        raise BadConstraint(problems)
    return tuple(read)


def _shape_problem(item: Any) -> str:
    where = ".".join(map(str, item["loc"]))
    if where == "pointer" and item["type"] == "string_pattern_mismatch":
        return "the pointer begins with / and names one argument, such as /path (RFC 6901)."
    return f"{where}: {item['msg']}." if where else f"{item['msg']}."


def _value_problems(constraint: ArgumentConstraint) -> Iterator[str]:
    """What is wrong with the value for its kind."""
    kind, value = constraint.kind, constraint.value
    if kind in {ConstraintKind.GLOB, ConstraintKind.PREFIX, ConstraintKind.PATH_UNDER, ConstraintKind.DIGEST}:
        yield from _text_problems(kind, value)
    elif kind in {ConstraintKind.ONE_OF, ConstraintKind.HOST_IN}:
        yield from _list_problems(kind, value)
    elif kind is ConstraintKind.RANGE:
        yield from _range_problems(value)


def _text_problems(kind: ConstraintKind, value: JSONValue) -> Iterator[str]:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        yield f"{kind} wants a text of 1 to {MAX_TEXT} characters as its value."
    elif "\0" in value:
        yield f"{kind} wants a text without NUL characters, which no path or address holds."
    elif kind is ConstraintKind.PATH_UNDER and path_of(value) is None:
        yield "path_under wants a folder without `..`, such as reports or /srv/data."
    elif kind is ConstraintKind.PREFIX and "://" in value and len(value.split("/")) <= _URL_PARTS:
        yield f"`{value}` also begins other hosts; end it with / after the host, or use host_in."
    elif kind is ConstraintKind.DIGEST and not re.fullmatch(r"[0-9a-f]{64}", value):
        yield "digest wants the 64 hex digits of a SHA-256."


def _list_problems(kind: ConstraintKind, value: JSONValue) -> Iterator[str]:
    if not isinstance(value, list | tuple) or not value:
        yield f"{kind} wants a list with at least one entry."
    elif kind is ConstraintKind.HOST_IN:
        for entry in value:
            if not isinstance(entry, str) or host_pattern(entry) is None:
                yield f"`{entry}` is no host, such as example.com, *.example.com or 10.0.0.7:8080."


def _range_problems(value: JSONValue) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value or not value.keys() <= {"min", "max"}:
        yield 'range wants {"min": number, "max": number}; one of the two may be left out.'
        return
    limits = value.values()
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in limits):
        yield "the limits of a range are finite numbers."
    elif value.get("min", -math.inf) > value.get("max", math.inf):
        yield f"the range is empty: {value['min']} is more than {value['max']}."


def _schema_problems(constraint: ArgumentConstraint, schema: Schema | None) -> Iterator[str]:
    """What is wrong with the place, given the tool's argument schema."""
    if schema is None:
        return
    places = [schema]
    for key in constraint.keys:
        places = [below for place in places for below in _below(place, schema, key)]
    if not places:
        names = ", ".join(sorted(schema.get("properties", ()))) or "none"
        yield f"the tool has no argument {constraint.pointer}. It has: {names}."
        return
    types = {name for place in places for name in _types(place, schema)}
    wanted = {"string"} if constraint.kind in _TEXT_KINDS else {"number", "integer"}
    if constraint.kind in {*_TEXT_KINDS, ConstraintKind.RANGE} and types and not types & wanted:
        noun = "texts" if constraint.kind in _TEXT_KINDS else "numbers"
        yield f"{constraint.pointer or '/'} is {' or '.join(sorted(types))}, and {constraint.kind} compares {noun}."


def _branches(schema: Any, root: Schema) -> Iterator[Schema]:
    """The schema itself with references followed, and the alternatives inside it."""
    if not isinstance(schema, Mapping):
        yield from [{}] if schema is True else []
        return
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target = value_at(root, tuple(reference[2:].split("/")))
        if target is not MISSING:
            yield from _branches(target, root)
        return
    alternatives = [branch for word in ("anyOf", "oneOf", "allOf") for branch in schema.get(word, ())]
    if not alternatives:
        yield schema
    for branch in alternatives:
        yield from _branches(branch, root)


def _below(place: Schema, root: Schema, key: str) -> Iterator[Any]:
    """The schemas of what lies at `key` in a value of this schema."""
    for schema in _branches(place, root):
        properties = schema.get("properties", {})
        kind = schema.get("type")
        if key in properties:
            yield properties[key]
        elif kind == "array":
            yield from [schema.get("items", True)] if key.isdigit() else []
        elif kind in {"object", None} and schema.get("additionalProperties", True) is not False:
            yield schema.get("additionalProperties", True)


def _types(place: Any, root: Schema) -> Iterator[str]:
    for schema in _branches(place, root):
        kind = schema.get("type", [])
        yield from [kind] if isinstance(kind, str) else kind


def contradictions(constraints: tuple[ArgumentConstraint, ...]) -> list[str]:
    """Sentences on constraints that nothing can meet together."""
    found = [
        _clash(one, other)
        for one, other in combinations(constraints, 2)
        if one.keys == other.keys and not _compatible(one, other)
    ]
    found += [
        _clash(outer, inner)
        for outer in constraints
        for inner in constraints
        if len(inner.keys) > len(outer.keys) == len(_shared(outer, inner)) and not _holds(outer, inner)
    ]
    return list(dict.fromkeys(found)) or _exhausted(constraints)


def _clash(one: ArgumentConstraint, other: ArgumentConstraint) -> str:
    return f"Nothing can be {sentence(one)} and {sentence(other)} at once."


def _shared(outer: ArgumentConstraint, inner: ArgumentConstraint) -> tuple[str, ...]:
    return outer.keys if inner.keys[: len(outer.keys)] == outer.keys else ()


def _candidates(constraint: ArgumentConstraint) -> list[JSONValue]:
    return [constraint.value] if constraint.kind is ConstraintKind.EXACT else list(constraint.value)


def _relative(constraint: ArgumentConstraint, depth: int) -> ArgumentConstraint:
    pointer = "".join(f"/{part}" for part in constraint.pointer.split("/")[1 + depth :])
    return ArgumentConstraint(pointer=pointer, kind=constraint.kind, value=constraint.value)


def _holds(outer: ArgumentConstraint, inner: ArgumentConstraint) -> bool:
    """Whether what lies inside can be as `inner` wants, when the whole is as `outer` wants: texts have no inside."""
    if outer.kind not in _FINITE:
        return False
    relative = (_relative(inner, len(outer.keys)),)
    return any(first_unmet(value, relative) is None for value in _candidates(outer))


def _compatible(one: ArgumentConstraint, other: ArgumentConstraint) -> bool:
    for finite, rest in ((one, other), (other, one)):
        if finite.kind in _FINITE:
            bare = (_relative(rest, len(rest.keys)),)
            return any(first_unmet(value, bare) is None for value in _candidates(finite))
    if (one.kind is ConstraintKind.RANGE) != (other.kind is ConstraintKind.RANGE):
        return False
    if one.kind is ConstraintKind.RANGE:
        low = max(limits.value.get("min", -math.inf) for limits in (one, other))
        return bool(low <= min(limits.value.get("max", math.inf) for limits in (one, other)))
    if one.kind is other.kind is ConstraintKind.HOST_IN:
        return any(_overlap(a, b) for a in one.value for b in other.value)
    if one.kind is other.kind is ConstraintKind.PATH_UNDER:
        a, b = path_of(one.value), path_of(other.value)
        return a is not None and b is not None and (a.is_under(b) or b.is_under(a))
    heads = [_head(constraint) for constraint in (one, other)]
    return any(head is None for head in heads) or _begins(heads[0] or "", heads[1] or "")


def _head(constraint: ArgumentConstraint) -> str | None:
    """The literal text that every value begins with, for the kinds that have one."""
    if constraint.kind is ConstraintKind.PREFIX:
        return str(constraint.value)
    if constraint.kind is ConstraintKind.GLOB:
        return str(constraint.value).partition("*")[0].partition("?")[0]
    return None


def _begins(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _overlap(one: str, other: str) -> bool:
    a, b = host_pattern(one), host_pattern(other)
    if a is None or b is None or a.port != b.port:
        return False
    if a.below and b.below:
        return a.name == b.name or a.name.endswith(f".{b.name}") or b.name.endswith(f".{a.name}")
    if a.below or b.below:
        wide, narrow = (a, b) if a.below else (b, a)
        return narrow.name.endswith(f".{wide.name}")
    return a.name == b.name


def _exhausted(constraints: tuple[ArgumentConstraint, ...]) -> list[str]:
    """One-of lists of which each other constraint leaves something, but all of them together nothing."""
    for finite in constraints:
        if finite.kind in _FINITE:
            others = tuple(_relative(c, len(c.keys)) for c in constraints if c.keys == finite.keys)
            if not any(first_unmet(value, others) is None for value in _candidates(finite)):
                return [f"No value is left: of {sentence(finite)}, the other constraints on it take none."]
    return []
