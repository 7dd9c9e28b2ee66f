"""Who has to approve a call, as an expression over roles. Pure.

`reviewer and admin`, `2 reviewers or admin`: alternatives joined by "or", each of them a number of people of certain
roles joined by "and". One person is one approval, whatever they may do. Somebody of an escalation group, once it was
called, stands in for anybody who is missing; the number of people stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from approvals.errors import BadExpression

MAX_PEOPLE = 5
_PART = re.compile(r"(?:(?P<count>[0-9]{1,3})\s+)?(?P<role>[a-z]+)")


@dataclass(frozen=True)
class Need:
    """`count` different people, each of one of `roles`."""

    count: int
    roles: frozenset[str]


Alternative = tuple[Need, ...]


def parsed(text: str, known: Collection[str]) -> tuple[Alternative, ...]:
    """The alternatives of an expression over the roles that `known` names; `reviewers` is a plural of `reviewer`.

    Raises:
        BadExpression: it is none, or asks for a role that can't approve, or for more than five people.
    """
    alternatives = tuple(_alternative(part, known) for part in re.split(r"\s+or\s+", text.strip().lower()))
    for alternative in alternatives:
        if sum(need.count for need in alternative) > MAX_PEOPLE:
            raise BadExpression(f"At most {MAX_PEOPLE} people can be asked for.")
    return alternatives


def of_roles(roles: Iterable[str], count: int) -> tuple[Alternative, ...]:
    """The plain requirement: so many people, each of any of these roles."""
    return ((Need(max(count, 1), frozenset(roles)),),)


def roles_in(alternatives: Iterable[Alternative]) -> list[str]:
    """All roles that are named, sorted."""
    return sorted({role for alternative in alternatives for need in alternative for role in need.roles})


def fewest(alternatives: Iterable[Alternative]) -> int:
    """The smallest number of people that can be enough."""
    return min(sum(need.count for need in alternative) for alternative in alternatives)


def is_met(alternatives: Iterable[Alternative], roles: Iterable[str], substitutes: Collection[str] = ()) -> bool:
    """Whether people of these roles, one entry a person, are enough; those of `substitutes` stand in for any other."""
    present = Counter(roles)
    return any(_meets(alternative, present, substitutes) for alternative in alternatives)


def in_words(alternatives: Iterable[Alternative]) -> str:
    """The alternatives as words: "2 reviewers, or an admin and a reviewer"."""
    return ", or ".join(" and ".join(map(_need_in_words, alternative)) for alternative in alternatives)


def _meets(alternative: Alternative, present: Counter[str], substitutes: Collection[str]) -> bool:
    missing, spare = 0, 0
    for need in alternative:
        missing += max(0, need.count - sum(present[role] for role in need.roles))
    named = {role: need for need in alternative for role in need.roles}
    for role in substitutes:
        taken = named[role].count if role in named else 0
        spare += max(0, present[role] - taken)
    return missing <= spare


def _alternative(text: str, known: Collection[str]) -> Alternative:
    counts: Counter[str] = Counter()
    for part in re.split(r"\s+and\s+", text.strip()):
        count, role = _part(part, known)
        counts[role] += count
    return tuple(Need(count, frozenset({role})) for role, count in sorted(counts.items()))


def _part(text: str, known: Collection[str]) -> tuple[int, str]:
    found = _PART.fullmatch(text.strip())
    if found is None:
        raise BadExpression(f'"{text[:60]}" is no number of people and a role. {BadExpression.__doc__}')
    role, count = found["role"], int(found["count"] or 1)
    role = role if role in known else role.removesuffix("s")
    if role not in known:
        raise BadExpression(f"{found['role'][:60]} can't approve. Who can: {', '.join(sorted(known))}.")
    if not 1 <= count <= MAX_PEOPLE:
        raise BadExpression(f"Between 1 and {MAX_PEOPLE} people can be asked for.")
    return count, role


def _need_in_words(need: Need) -> str:
    roles = sorted(need.roles)
    if need.count > 1:
        return f"{need.count} " + " or ".join(f"{role}s" for role in roles)
    return " or ".join(f"{'an' if role[0] in 'aeiou' else 'a'} {role}" for role in roles)
