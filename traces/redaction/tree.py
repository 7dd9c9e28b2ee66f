"""Structured values: collects every text of a JSON value, has them redacted together, and rebuilds what changed."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from itertools import repeat
from typing import Any

from traces.redaction.columns import SMALLEST_TESTED, Columns, columns_of
from traces.redaction.credentials import is_placeholder
from traces.redaction.embedded import BEGINNINGS, opened, written_like
from traces.redaction.keys import FieldName, KeyKind, field_name, kind_of, label_of
from traces.redaction.replacement import Replacement
from traces.redaction.scanner import LONGEST_IDLE_WORD, is_idle_word
from traces.redaction.spans import Label

MAX_DEPTH = 100  # levels, those of JSON inside JSON strings included; deeper subtrees are replaced whole
MAX_NODES = 2_000_000  # values in one call; what is beyond is replaced whole
_PLAIN_TYPES = frozenset({type(None), bool, float})
_UNTOUCHED = (type(None), bool, float, dt.date, dt.time, dt.timedelta, uuid.UUID)
_HEADER_NAMES = frozenset({"authorization", "cookie"})
_NAME_FIELDS = ("name", "key", "header", "Name", "Key")
_PAIR = 2
_COPIED_AS_THEY_ARE = frozenset({dict, list})
_NO_NAMES: frozenset[Any] = frozenset()

Rewrite = Callable[[list[str], dict[int, str]], dict[int, str]]


class _Form(enum.Enum):
    """How a text came out of its place, and so how it goes back."""

    TEXT = 0
    BYTES = 1
    NUMBER = 2
    KEY = 3


class Tree:
    """One redaction of one value."""

    def __init__(self, replacement: Replacement, rewrite: Rewrite, *, secrets: bool, every_name: bool) -> None:
        self._replacement = replacement
        self._rewrite = rewrite
        self._secrets = secrets
        self._every_name = (
            every_name  # whether even short plain names are read, because a tenant's pattern may match one
        )
        self._smallest = 0 if every_name else SMALLEST_TESTED  # as may any number
        # Of each node, which is a container: itself, the number of its parent, its key there, and the JSON text that it
        # was parsed from, if any. Lists beside each other take a row of objects at once.
        self._values: list[Any] = []
        self._parents: list[int] = []
        self._keys: list[Any] = []
        self._sources: list[str | None] = []
        self._encoded: set[int] = set()  # of those nodes that were parsed from JSON, whose text came as bytes
        self._texts: list[str] = []
        self._places: list[tuple[int, Any]] = []  # of each text: its node and its key there
        self._forms: dict[int, _Form] = {}  # of those texts that are no plain string
        self._contexts: dict[int, str] = {}  # of those texts whose field's name is a context word
        self._tokens: list[tuple[int, Any, str]] = []  # what is replaced whole: a node, a key there, the token
        self._copies: dict[int, Any] = {}  # of the nodes that change, while they are changed
        self._renames: dict[int, dict[Any, str]] = {}
        self._plain: set[str] = set()  # names that ask for nothing
        self._path: set[int] = set()
        self._count = 0

    def redact(self, value: Any) -> Any:
        """Return the redacted copy of ``value``."""
        root = [value]
        self._node(root, -1, 0)
        self._value(value, 0, 0, "", 0)
        self._put_back(self._rewrite(self._texts, self._contexts) if self._texts else {})
        return self._finished() if self._copies else value

    def _node(self, value: Any, parent: int, key: Any, source: str | None = None) -> int:
        """Return the number of a new node."""
        self._values.append(value)
        self._parents.append(parent)
        self._keys.append(key)
        self._sources.append(source)
        return len(self._values) - 1

    def _value(self, value: Any, node: int, key: Any, context: str, depth: int) -> None:
        kind = type(value)
        if kind is str:
            if value and not (value[0] in BEGINNINGS and self._json(value, node, key, depth)):
                self._text(value, node, key, _Form.TEXT, context)
        elif kind is dict:
            self._mapping(value, node, key, depth)
        elif kind is list:
            self._sequence(value, node, key, context, depth)
        elif isinstance(value, _UNTOUCHED):
            return
        elif kind is int:
            if not -self._smallest < value < self._smallest:
                self._integer(value, node, key, context)
        else:
            self._other(value, node, key, context, depth)

    def _text(self, text: str, node: int, key: Any, form: _Form, context: str) -> None:
        if form is not _Form.TEXT:
            self._forms[len(self._texts)] = form
        if context:
            self._contexts[len(self._texts)] = context
        self._texts.append(text)
        self._places.append((node, key))

    def _integer(self, value: int, node: int, key: Any, context: str) -> None:
        # Beyond 4300 digits CPython refuses to write a number; such a one is no card, but its digits may hold one.
        if value.bit_length() > 14_000:  # noqa: PLR2004
            self._replace(node, key, Label.GENERIC_SECRET)
        else:
            self._text(str(abs(value)), node, key, _Form.NUMBER, context)

    def _other(self, value: Any, node: int, key: Any, context: str, depth: int) -> None:
        if isinstance(value, str):
            self._text(str.__str__(value), node, key, _Form.TEXT, context)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            text = bytes(value).decode(errors="surrogateescape")
            if not self._json(text, node, key, depth, encoded=True):
                self._text(text, node, key, _Form.BYTES, context)
        elif isinstance(value, int):
            self._integer(int(value), node, key, context)
        elif isinstance(value, Mapping):
            self._mapping(value, node, key, depth)
        elif isinstance(value, (list, tuple, AbstractSet)):
            self._sequence(value, node, key, context, depth)
        else:
            try:
                text = str(value)
            except Exception:  # noqa: BLE001  a foreign __str__ may raise anything; its value is then not shown
                self._replace(node, key, Label.GENERIC_SECRET)
            else:
                self._text(text, node, key, _Form.TEXT, context)

    def _json(self, text: str, node: int, key: Any, depth: int, *, encoded: bool = False) -> bool:
        """Read ``text`` as JSON, if it is a container or text in itself; return whether it was."""
        parsed = opened(text) if depth < MAX_DEPTH else None
        if not parsed:
            return False
        inside = self._node([parsed], node, key, text)
        if encoded:
            self._encoded.add(inside)
        self._value(parsed, inside, 0, "", depth + 1)
        return True

    def _enter(self, value: Any, parent: int, key: Any, depth: int) -> int:
        """Return the number of a new node for ``value``, or 0 when it can't be read and was replaced whole."""
        path = self._path
        self._count += len(value)
        if depth >= MAX_DEPTH or self._count > MAX_NODES or id(value) in path:
            self._replace(parent, key, Label.GENERIC_SECRET)
            return 0
        path.add(id(value))
        return self._node(value, parent, key)

    def _mapping(  # noqa: C901, PLR0912  the inner loop, unrolled
        self, value: Mapping[Any, Any], parent: int, name: Any, depth: int, idle: frozenset[Any] = _NO_NAMES
    ) -> None:
        node = self._enter(value, parent, name, depth)
        if not node:
            return
        texts, places, plain = self._texts, self._places, self._plain
        skip_words, smallest = not self._every_name, self._smallest
        if self._every_name:
            for key in value:
                if type(key) is str:
                    self._text(key, node, key, _Form.KEY, "")
        if ("value" in value or "Value" in value) and self._is_named_secret(value):
            held = _held_in(value)
            self._replace(node, held, label_of(_name_in(value)))
            idle |= {held}
        for key, item in value.items():
            if key in idle:
                continue
            if key not in plain:
                if type(key) is not str:
                    self._other_key(key, node)
                elif (field := field_name(key)) is not None:
                    self._named(field, item, node, key, depth + 1)
                    continue
                else:
                    plain.add(key)
            # Most items are short texts and small numbers: they are told apart here, without a call.
            kind = type(item)
            if kind is str:
                if len(item) <= LONGEST_IDLE_WORD and (
                    not item or (skip_words and item.isalpha() and is_idle_word(item))
                ):
                    continue
                if item[0] in BEGINNINGS:
                    self._value(item, node, key, "", depth + 1)
                else:
                    texts.append(item)
                    places.append((node, key))
            elif kind is int:
                if not -smallest < item < smallest:
                    self._integer(item, node, key, "")
            elif kind is dict:
                self._mapping(item, node, key, depth + 1)
            elif kind not in _PLAIN_TYPES:
                self._value(item, node, key, "", depth + 1)
        self._path.remove(id(value))

    def _named(self, name: FieldName, item: Any, node: int, key: str, depth: int) -> None:
        """Take the item of a field whose name says something."""
        if name.scanned and not self._every_name:
            self._text(key, node, key, _Form.KEY, "")
        if name.kind is KeyKind.SECRET and self._secrets and self._is_set(item):
            self._replace(node, key, label_of(key))
        else:
            self._value(item, node, key, name.context, depth)

    def _other_key(self, key: Any, node: int) -> None:
        if key is None or isinstance(key, (bool, float)):
            return
        text = key.decode(errors="surrogateescape") if isinstance(key, bytes) else str(key)
        self._text(text, node, key, _Form.KEY, "")

    def _is_named_secret(self, value: Mapping[Any, Any]) -> bool:
        """Whether the name of a secret is a value itself: ``{"name": "Authorization", "value": "…"}``."""
        name = _name_in(value)
        return self._secrets and kind_of(name) is KeyKind.SECRET and self._is_set(value[_held_in(value)])

    def _sequence(self, value: Any, parent: int, name: Any, context: str, depth: int) -> None:
        node = self._enter(value, parent, name, depth)
        if not node:
            return
        columns = Columns() if self._every_name or type(value) is not list else columns_of(value)
        if columns.texts is not None and depth + 1 < MAX_DEPTH:
            self._rows(value, node, columns.texts, depth + 2)
            self._path.remove(id(value))
            return
        idle = columns.idle
        previous: Any = None
        for index, item in enumerate(value):
            kind = type(item)
            if kind is dict:
                self._mapping(item, node, index, depth + 1, idle)
            elif kind is str and self._secrets and self._announced(previous, item, len(value)):
                self._replace(node, index, label_of(previous))
            else:
                self._value(item, node, index, context, depth + 1)
            previous = item
        self._path.remove(id(value))

    def _rows(self, rows: list[dict[str, Any]], parent: int, names: tuple[str, ...], depth: int) -> None:
        """Take the texts of ``rows``, objects in which nothing else is to be looked at."""
        self._count += len(rows) * len(rows[0])
        if not names:
            return
        first = len(self._values)
        self._values += rows
        self._parents += repeat(parent, len(rows))
        self._keys += range(len(rows))
        self._sources += repeat(None, len(rows))
        add_text, add_place = self._texts.append, self._places.append
        for node, row in enumerate(rows, first):
            for name in names:
                text = row[name]
                if text and text[0] not in BEGINNINGS:
                    add_text(text)
                    add_place((node, name))
                elif text:
                    self._value(text, node, name, "", depth)

    def _announced(self, previous: Any, item: str, length: int) -> bool:
        """Whether ``item`` follows the name of a secret: ``--password …`` of a command, or a pair of a header."""
        if type(previous) is not str or not previous:
            return False
        flag = previous[0] == "-" and "=" not in previous and not previous.startswith("---")
        header = length == _PAIR and ("-" in previous or previous.lower() in _HEADER_NAMES)
        return (flag or header) and item[:1] != "-" and kind_of(previous) is KeyKind.SECRET and self._is_set(item)

    def _is_set(self, value: Any) -> bool:
        """Whether the value of a secret field is there: not null, a flag, empty, a mask or a reference to elsewhere."""
        if value is None or isinstance(value, bool):
            return False
        if isinstance(value, str):
            return not is_placeholder(value)
        return not (isinstance(value, (Mapping, list, tuple, AbstractSet, bytes)) and len(value) == 0)

    def _replace(self, node: int, key: Any, label: str) -> None:
        self._tokens.append((node, key, self._replacement.token(label)))

    def _put_back(self, rewritten: dict[int, str]) -> None:
        """Write every token and every changed text into the copy of what it stands in."""
        places, forms, copies = self._places, self._forms, self._copies
        for node, key, token in self._tokens:
            self._copy(node)[key] = token
        for index, text in rewritten.items():
            node, key = places[index]
            copy = copies[node] if node in copies else self._copy(node)
            if index not in forms:
                copy[key] = text
            elif forms[index] is _Form.KEY:
                self._renames.setdefault(node, {})[key] = text
            else:
                copy[key] = text.encode(errors="surrogateescape") if forms[index] is _Form.BYTES else text

    def _copy(self, node: int) -> Any:
        """Return the copy of a node, which is put into the copy of its parent: a dict, or a list of its items."""
        if node in self._copies:
            return self._copies[node]
        value = self._values[node]
        if type(value) is dict:
            copy: Any = value.copy()  # in a fraction of the time that any other mapping needs
        else:
            copy = dict(value.items()) if isinstance(value, Mapping) else list(value)
        self._copies[node] = copy
        if node:
            self._copy(self._parents[node])[self._keys[node]] = copy
        return copy

    def _finished(self) -> Any:
        """Make the copies what their originals are: tuples, sets, JSON texts; and give changed names."""
        copies, renames = self._copies, self._renames
        for node in sorted(copies, reverse=True):  # what is inside stands behind what it is in
            value, source = self._values[node], self._sources[node]
            if source is not None:
                finished: Any = written_like(source, copies[node][0])
                finished = finished.encode(errors="surrogateescape") if node in self._encoded else finished
            elif node in renames:
                finished = _renamed(copies[node], renames[node])
            elif type(value) not in _COPIED_AS_THEY_ARE:
                finished = _like(value, copies[node])
            else:
                continue
            copies[self._parents[node]][self._keys[node]] = finished
        return copies[0][0]


def _name_in(value: Mapping[Any, Any]) -> str:
    """Return the name that an object with a value gives to it, as headers of requests and fields of forms do."""
    name = next(filter(None, map(value.get, _NAME_FIELDS)), "")
    return name if isinstance(name, str) else ""


def _held_in(value: Mapping[Any, Any]) -> str:
    return "value" if "value" in value else "Value"


def _like(value: Any, items: Any) -> Any:
    """Return ``items``, those of a changed copy of ``value``, as what ``value`` is."""
    if isinstance(value, tuple):
        return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
    if isinstance(value, frozenset):
        return frozenset(items)
    return set(items) if isinstance(value, AbstractSet) else items


def _renamed(copy: dict[Any, Any], names: dict[Any, str]) -> dict[Any, Any]:
    taken = {key for key in copy if key not in names}
    renamed: dict[Any, Any] = {}
    for key, item in copy.items():
        name = key
        if key in names:
            name = _free_name(names[key], taken)
            taken.add(name)
        renamed[name] = item
    return renamed


def _free_name(name: str, taken: set[Any]) -> str:
    """Number a redacted key, so that two keys never become one."""
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"
