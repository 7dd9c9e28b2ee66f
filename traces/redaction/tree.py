"""Structured values: collects every text of a JSON value, has them redacted together, and rebuilds what changed."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

from traces.redaction.credentials import is_placeholder
from traces.redaction.keys import FieldName, KeyKind, field_name, kind_of, label_of
from traces.redaction.replacement import Replacement
from traces.redaction.spans import Label

MAX_DEPTH = 100  # levels, those of JSON inside JSON strings included; deeper subtrees are replaced whole
MAX_NODES = 2_000_000  # values in one call; what is beyond is replaced whole
_SMALLEST_TESTED = 10**8  # integers of nine digits or more can be cards, phones and social security numbers
_JSON_OPENINGS = frozenset('{["')
_SHORTEST_JSON = 6
_PLAIN_TYPES = frozenset({type(None), bool, float})
_UNTOUCHED = (type(None), bool, float, dt.date, dt.time, dt.timedelta, uuid.UUID)
_HEADER_NAMES = frozenset({"authorization", "cookie"})
_PAIR = 2

Rewrite = Callable[[list[str], dict[int, str]], dict[int, str]]


class _Form(enum.Enum):
    """How a text came out of its place, and so how it goes back."""

    TEXT = 0
    BYTES = 1
    NUMBER = 2
    KEY = 3


_Node = tuple[Any, int, Any, str | None]
"""A container, the index of its parent and its key there, and the JSON text it was parsed from, if any."""


class Tree:
    """One redaction of one value."""

    def __init__(self, replacement: Replacement, rewrite: Rewrite, *, secrets: bool, every_name: bool) -> None:
        self._replacement = replacement
        self._rewrite = rewrite
        self._secrets = secrets
        self._every_name = (
            every_name  # whether even short plain names are read, because a tenant's pattern may match one
        )
        self._nodes: list[_Node] = []
        self._texts: list[str] = []
        self._places: list[tuple[int, Any]] = []  # of each text: its node and its key there
        self._forms: dict[int, _Form] = {}  # of those texts that are no plain string
        self._contexts: dict[int, str] = {}  # of those texts whose field's name is a context word
        self._changes: dict[int, dict[Any, Any]] = {}
        self._renames: dict[int, dict[Any, str]] = {}
        self._plain: set[str] = set()  # names that ask for nothing
        self._path: set[int] = set()
        self._count = 0

    def redact(self, value: Any) -> Any:
        """Return the redacted copy of ``value``."""
        root = [value]
        self._nodes.append((root, -1, 0, None))
        self._value(value, 0, 0, "", 0)
        if self._texts:
            self._put_back(self._rewrite(self._texts, self._contexts))
        if not self._changes and not self._renames:
            return value
        return self._rebuilt(root)

    def _value(self, value: Any, node: int, key: Any, context: str, depth: int) -> None:
        kind = type(value)
        if kind is str:
            if value and not (value[0] in _JSON_OPENINGS and self._json(value, node, key, depth)):
                self._text(value, node, key, _Form.TEXT, context)
        elif kind is dict or kind is list:
            self._container(value, node, key, context, depth)
        elif isinstance(value, _UNTOUCHED):
            return
        elif kind is int:
            if value >= _SMALLEST_TESTED or value <= -_SMALLEST_TESTED:
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
            self._text(bytes(value).decode(errors="surrogateescape"), node, key, _Form.BYTES, context)
        elif isinstance(value, int):
            self._integer(int(value), node, key, context)
        elif isinstance(value, (Mapping, list, tuple, AbstractSet)):
            self._container(value, node, key, context, depth)
        else:
            try:
                text = str(value)
            except Exception:  # noqa: BLE001  a foreign __str__ may raise anything; its value is then not shown
                self._replace(node, key, Label.GENERIC_SECRET)
            else:
                self._text(text, node, key, _Form.TEXT, context)

    def _json(self, text: str, node: int, key: Any, depth: int) -> bool:
        """Read ``text`` as JSON, if it is a container or text in itself; return whether it was."""
        if len(text) < _SHORTEST_JSON or text[-1] not in '}]"' or depth >= MAX_DEPTH:
            return False
        try:
            parsed = orjson.loads(text)
        except (ValueError, RecursionError):
            return False
        if not parsed:
            return False
        holder = [parsed]
        self._nodes.append((holder, node, key, text))
        self._value(parsed, len(self._nodes) - 1, 0, "", depth + 1)
        return True

    def _container(self, value: Any, parent: int, key: Any, context: str, depth: int) -> None:
        self._count += len(value)
        nodes, path, identity = self._nodes, self._path, id(value)
        if depth >= MAX_DEPTH or self._count > MAX_NODES or identity in path:
            self._replace(parent, key, Label.GENERIC_SECRET)
            return
        node = len(nodes)
        nodes.append((value, parent, key, None))
        path.add(identity)
        if type(value) is dict or isinstance(value, Mapping):
            self._mapping(value, node, depth + 1)
        else:
            self._sequence(value, node, context, depth + 1)
        path.remove(identity)

    def _mapping(self, value: Mapping[Any, Any], node: int, depth: int) -> None:  # noqa: C901, PLR0912  the inner loop, unrolled
        texts, places, plain = self._texts, self._places, self._plain
        if self._every_name:
            for key in value:
                if type(key) is str:
                    self._text(key, node, key, _Form.KEY, "")
        for key, item in value.items():
            kind = type(item)
            if key not in plain:
                if type(key) is not str:
                    self._other_key(key, node)
                elif (name := field_name(key)) is not None:
                    self._named(name, item, node, key, depth)
                    continue
                else:
                    plain.add(key)
            # Most items are short texts and small numbers: they are told apart here, without a call.
            if kind is str:
                if item and item[0] not in _JSON_OPENINGS:
                    texts.append(item)
                    places.append((node, key))
                elif item:
                    self._value(item, node, key, "", depth)
            elif kind is int:
                if not -_SMALLEST_TESTED < item < _SMALLEST_TESTED:
                    self._integer(item, node, key, "")
            elif kind is dict or kind is list:
                self._container(item, node, key, "", depth)
            elif kind not in _PLAIN_TYPES:
                self._value(item, node, key, "", depth)
        if self._secrets and "value" in value:
            self._named_pair(value, node)

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

    def _named_pair(self, value: Mapping[Any, Any], node: int) -> None:
        """``{"name": "Authorization", "value": "…"}``: the name of the secret is a value itself."""
        name = value.get("name") or value.get("key") or value.get("header")
        if isinstance(name, str) and kind_of(name) is KeyKind.SECRET and self._is_set(value["value"]):
            self._replace(node, "value", label_of(name))

    def _sequence(self, value: Any, node: int, context: str, depth: int) -> None:
        previous: Any = None
        for index, item in enumerate(value):
            kind = type(item)
            if kind is dict or kind is list:
                self._container(item, node, index, context, depth)
            elif kind is str and self._secrets and self._announced(previous, item, len(value)):
                self._replace(node, index, label_of(previous))
            else:
                self._value(item, node, index, context, depth)
            previous = item

    def _announced(self, previous: Any, item: str, length: int) -> bool:
        """Whether ``item`` follows the name of a secret: ``--password …`` of a command, or a pair of a header."""
        if type(previous) is not str or not previous:
            return False
        flag = previous[0] == "-" and "=" not in previous
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
        self._changes.setdefault(node, {})[key] = self._replacement.token(label)

    def _put_back(self, rewritten: dict[int, str]) -> None:
        places, forms, changes = self._places, self._forms, self._changes
        for index, text in rewritten.items():
            node, key = places[index]
            form = forms.get(index)
            if form is _Form.KEY:
                self._renames.setdefault(node, {})[key] = text
                continue
            new = text.encode(errors="surrogateescape") if form is _Form.BYTES else text
            if node in changes:
                changes[node][key] = new
            else:
                changes[node] = {key: new}

    def _rebuilt(self, root: list[Any]) -> Any:
        all_changes, all_renames = self._changes, self._renames
        for index in range(len(self._nodes) - 1, 0, -1):
            changes, renames = all_changes.get(index), all_renames.get(index)
            if changes is None and renames is None:
                continue
            value, parent, key, source = self._nodes[index]
            new: Any
            if changes is not None and renames is None and type(value) is dict:
                new = {**value, **changes}
            else:
                new = _copy(value, changes or {}, renames or {})
            if source is not None:
                new = _dump(new[0], source)
            if parent in all_changes:
                all_changes[parent][key] = new
            else:
                all_changes[parent] = {key: new}
        return all_changes.get(0, {}).get(0, root[0])


def _copy(value: Any, changes: dict[Any, Any], renames: dict[Any, str]) -> Any:
    """Return a copy of a container with changed items and renamed keys."""
    if type(value) is list:
        copy = value.copy()
        for index, item in changes.items():
            copy[index] = item
        return copy
    if isinstance(value, Mapping):
        return _copy_mapping(value, changes, renames)
    items = [changes.get(index, item) for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
    if isinstance(value, frozenset):
        return frozenset(items)
    return set(items) if isinstance(value, AbstractSet) else items


def _copy_mapping(value: Mapping[Any, Any], changes: dict[Any, Any], renames: dict[Any, str]) -> dict[Any, Any]:
    taken = {key for key in value if key not in renames}
    copy: dict[Any, Any] = {}
    for key, item in value.items():
        name = key
        if key in renames:
            name = _free_name(renames[key], taken)
            taken.add(name)
        copy[name] = changes.get(key, item)
    return copy


def _free_name(name: str, taken: set[Any]) -> str:
    """Number a redacted key, so that two keys never become one."""
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"


def _dump(value: Any, source: str) -> str:
    """Write ``value`` in the style of ``source``, the JSON text it was read from."""
    if "\n" in source:
        return json.dumps(value, ensure_ascii=False, indent=2)
    compact = '": ' not in source
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if compact else None)
