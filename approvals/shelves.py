"""Remembered rules sorted so that a call meets only those that may cover it, not all 200 one after the other. Pure.

Each rule stands on one shelf, by the first of its constraints that can be looked up: an exact value, a folder, a host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from approvals.constraints import value_at
from approvals.places import Path, host_of, host_pattern, path_of
from approvals.types import ArgumentConstraint, ConstraintKind, JSONValue, PolicyFacts, RuleFacts

if TYPE_CHECKING:
    from collections.abc import Hashable

# What a shelf is about: a kind of constraint and the place that it looks at; None for rules that can't be looked up.
Label = tuple[ConstraintKind, tuple[str, ...]] | None
Shelves = Mapping[str, Mapping[Label, Mapping["Hashable", tuple[RuleFacts, ...]]]]


def shelves_of(policy: PolicyFacts) -> Shelves:
    """The rules of a policy by tool, label and key; made once and kept with the policy."""
    found: Shelves | None = policy.memo.get("shelves")
    if found is None:
        found = policy.memo["shelves"] = _sorted_out(policy.rules)
    return found


def candidates(policy: PolicyFacts, tool: str, arguments: Mapping[str, JSONValue]) -> Iterator[RuleFacts]:
    """The rules for a tool that may cover these arguments. Whether each does is still to be checked."""
    for label, by_key in shelves_of(policy).get(tool, {}).items():
        for key in _keys(label, arguments):
            yield from by_key.get(key, ())


def _sorted_out(rules: tuple[RuleFacts, ...]) -> Shelves:
    shelves: dict[str, dict[Label, dict[Hashable, tuple[RuleFacts, ...]]]] = {}
    for rule in rules:
        label, key = next(filter(None, map(_place, rule.constraints)), (None, None))
        by_key = shelves.setdefault(rule.tool, {}).setdefault(label, {})
        by_key[key] = (*by_key.get(key, ()), rule)
    return shelves


def _place(constraint: ArgumentConstraint) -> tuple[Label, Hashable] | None:
    """Where a rule with this constraint stands, or None for a constraint that can't be looked up."""
    kind, value = constraint.kind, constraint.value
    if kind is ConstraintKind.EXACT and _is_scalar(value):
        return (kind, constraint.keys), value
    if kind is ConstraintKind.PATH_UNDER:
        return (kind, constraint.keys), path_of(value)
    if kind is ConstraintKind.HOST_IN and len(value) == 1:
        pattern = host_pattern(value[0])
        if pattern is not None and not pattern.below:
            return (kind, constraint.keys), pattern.name
    return None


def _keys(label: Label, arguments: Mapping[str, JSONValue]) -> Iterator[Hashable]:
    """The keys under which a rule on this shelf must stand in order to cover the arguments."""
    if label is None:
        yield None
        return
    kind, place = label
    value = value_at(arguments, place)
    if kind is ConstraintKind.EXACT:
        if _is_scalar(value):
            yield value
    elif isinstance(value, str):
        if kind is ConstraintKind.PATH_UNDER:
            path = path_of(value)
            if path is not None:
                yield from (Path(path.absolute, path.parts[:depth]) for depth in range(len(path.parts) + 1))
        else:
            host = host_of(value)
            if host is not None:
                yield host.name


def _is_scalar(value: JSONValue) -> bool:
    return value is None or isinstance(value, str | int | float)
