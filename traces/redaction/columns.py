"""Lists of objects: what of their fields must be looked at, told for all objects together.

A trace is mostly lists of like objects: messages, rows, calls. To ask a column for its types and its largest number
costs a fraction of asking each of its values.
"""

from __future__ import annotations

from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from traces.redaction.keys import field_name
from traces.redaction.scanner import LONGEST_IDLE_WORD, is_idle_word

SMALLEST_TESTED = 10**8  # integers of nine digits or more can be cards, phones and social security numbers
_FEWEST_OBJECTS = 16  # of fewer the columns are not worth their making
_MOST_NAMES = 32  # in the first object: of larger ones, neither
_HOLDERS = frozenset({"value", "Value"})
_NO_TEXT = frozenset({type(None), bool, float})
_NUMBERS = frozenset({int, bool, float})
_TEXTS = frozenset({str, type(None)})


class Columns(NamedTuple):
    """What is known of the objects of a list."""

    idle: frozenset[Any] = frozenset()  # names under which all hold but small numbers, idle words and objects of these
    texts: tuple[str, ...] | None = None  # the other names, if all objects have the same and all of these hold texts


_UNKNOWN = Columns()


def columns_of(items: list[Any]) -> Columns:
    """Return what is known of ``items``: nothing when they are few, or not all objects, or large ones."""
    if len(items) < _FEWEST_OBJECTS or set(map(type, items)) != {dict} or len(items[0]) > _MOST_NAMES:
        return _UNKNOWN
    size = len(items[0])
    alike = set(map(len, items)) == {size}
    idle: set[str] = set()
    texts: list[str] = []
    for name in filter(_is_plain, items[0]):
        column = list(map(dict.get, items, repeat(name)))
        kinds = set(map(type, column))
        if _is_idle(column, kinds):
            idle.add(name)
            alike = alike and type(None) not in kinds  # which stands for what is missing
        elif kinds == {str}:
            texts.append(name)
    return Columns(frozenset(idle), tuple(texts) if alike and len(idle) + len(texts) == size else None)


def _is_plain(name: Any) -> bool:
    # Under "value" there may be a secret that is named beside it.
    return type(name) is str and name not in _HOLDERS and field_name(name) is None


def _is_idle(column: list[Any], kinds: set[type]) -> bool:
    if kinds <= _NO_TEXT:
        return True
    if kinds <= _NUMBERS:
        return bool(min(column) > -SMALLEST_TESTED and max(column) < SMALLEST_TESTED)
    if kinds <= _TEXTS:
        if len(column[0] or "") > LONGEST_IDLE_WORD:  # as in most columns of texts, which are told by their first
            return False
        words = set(filter(None, column))
        return max(map(len, words), default=0) <= LONGEST_IDLE_WORD and all(map(is_idle_word, words))
    return kinds == {dict} and _all_idle(column)


def _all_idle(objects: list[dict[Any, Any]]) -> bool:
    """Whether ``objects`` have the same few plain names, with small numbers and idle words under them."""
    first = objects[0]
    if len(first) > _MOST_NAMES or set(map(len, objects)) != {len(first)} or not all(map(_is_plain, first)):
        return False
    try:
        columns = [list(map(itemgetter(name), objects)) for name in first]
    except KeyError:
        return False
    kinds = [set(map(type, column)) for column in columns]
    return not any(dict in each for each in kinds) and all(map(_is_idle, columns, kinds))
