"""The statements of the hot transactions: composed once a process, and prepared once a connection.

Note [Compiled once]: putting a QuerySet into SQL costs Django up to a millisecond of CPU, several times what the
statement itself costs, and PostgreSQL parses and plans each one anew. A `Query` is an ordinary QuerySet whose values
are slots: Django compiles it on first use, for either database, and then only the values change. `insert` and `update`
are the two writes that a hot transaction needs. On PostgreSQL all of them are prepared statements.

Note [Constants written out]: an index of some rows only (`WHERE state = 'pending'`) serves a statement from which the
database can see that it asks for those. Of a value that is filled in later it can't: SQLite never, PostgreSQL no longer
once it keeps one plan for all values, from the sixth use on. So what is the same each time stands in the text. The
sweep's looks for gates whose clocks ran out read all gates for want of it: with 100,000 of them 170 ms, each second.

Nothing here goes round the ORM's guards: constraints, converters and error classes are Django's own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from itertools import count
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, CharField, Expression, Field, Model, QuerySet, TextField
from django.db.models.query import get_related_populators
from django.db.models.sql.compiler import SQLCompiler
from django.db.transaction import TransactionManagementError
from psycopg import RawCursor

from routekit_site.tenancy import slow_queries

Row = TypeVar("Row", bound=Model)
Converters = list[tuple[int, Sequence[Callable[..., Any]], Any]]


class Slot(Expression):
    """A place in a compiled query that is filled each time it is run; `source` fills it by itself."""

    def __init__(
        self, name: str, output_field: Field[Any, Any] | None = None, source: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(output_field=output_field)
        self.name = name
        self.source = source

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, Any]:  # noqa: ARG002 - Django's own
        return "%s", [self]

    def get_group_by_cols(self) -> list[Any]:
        return []

    def value(self, values: Mapping[str, Any], database: BaseDatabaseWrapper) -> Any:
        """What stands in the slot this time, as the database takes it."""
        return _adapted(self.source() if self.source is not None else values[self.name], database)


@lru_cache(maxsize=1024)
def _numbered(sql: str) -> bytes:
    """A statement with PostgreSQL's own `$1`, `$2` for its places.

    psycopg does this itself, but anew each time for a statement of more than 50 values.
    """
    numbers = count(1)
    return re.sub("%([s%])", lambda place: f"${next(numbers)}" if place[1] == "s" else "%", sql).encode()


def _database() -> BaseDatabaseWrapper:
    """This thread's connection itself: `django.db.connection` looks it up anew for each attribute."""
    return connections[DEFAULT_DB_ALIAS]


def _prepares(database: BaseDatabaseWrapper) -> bool:
    """Whether statements go to the server as prepared ones.

    A prepared statement can't be logged with its values nor be wrapped, so where either is asked for Django's own
    cursor runs them. The watch for slow statements is no such wrapper: `_prepared` tells it.
    """
    return database.vendor == "postgresql" and not database.queries_logged and not slow_queries.others(database)


def _prepared(database: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> Any:
    """Run a prepared statement as Django's cursor would: its checks and its error classes."""
    database.validate_thread_sharing()
    database.ensure_connection()
    database.validate_no_broken_transaction()
    began = time.monotonic()
    try:
        with database.wrap_database_errors:
            cursor = RawCursor(database.connection)
            cursor.execute(_numbered(sql), values, prepare=True)
    finally:
        slow_queries.note(sql, began)
    return cursor


def execute(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one statement of a constant text; its rows, or none where it returns none."""
    database = _database()
    if _prepares(database):
        cursor = _prepared(database, sql, values)
        # `description` would make an object of every column, only to be compared with None.
        if not cursor.pgresult.nfields:
            return []
        with database.wrap_database_errors:
            return list(cursor.fetchall())
    with database.cursor() as wrapped:
        wrapped.execute(sql, list(values))
        return wrapped.fetchall() if wrapped.description else []


def changed(sql: str, values: Sequence[Any]) -> int:
    """Run one statement of a constant text; how many rows it changed."""
    database = _database()
    if _prepares(database):
        return int(_prepared(database, sql, values).rowcount)
    with database.cursor() as cursor:
        cursor.execute(sql, list(values))
        return int(cursor.rowcount)


def _adapted(value: Any, database: BaseDatabaseWrapper) -> Any:
    match value:
        case UUID():
            return value if database.features.has_native_uuid_field else value.hex
        case datetime():
            return database.ops.adapt_datetimefield_value(value)
        case Enum():
            return value.value
    return value


@dataclass(frozen=True)
class _Compiled:
    """One query in the SQL of one kind of database, and how its rows become what was asked for."""

    sql: str
    values: tuple[Any, ...]
    converters: Converters
    locks: bool
    instance: Callable[[list[Any]], Any] | None

    def rows(self, values: Mapping[str, Any]) -> list[list[Any]]:
        database = _database()
        if self.locks and not database.in_atomic_block:
            raise TransactionManagementError("select_for_update cannot be used outside of a transaction.")
        filled = [value.value(values, database) if isinstance(value, Slot) else value for value in self.values]
        return [self._converted(row, database) for row in execute(self.sql, filled)]

    def _converted(self, row: tuple[Any, ...], database: BaseDatabaseWrapper) -> list[Any]:
        found = list(row)
        for position, converters, expression in self.converters:
            for convert in converters:
                found[position] = convert(found[position], expression, database)
        return found


class Query(Generic[Row]):
    """A QuerySet with slots for values, compiled on first use (see Note [Compiled once]).

    `build` makes the QuerySet; slots are named by `slot`. It may select related rows, annotate and lock. Constants in
    it stay constants.
    """

    def __init__(self, build: Callable[[], QuerySet[Row, Any]]) -> None:
        self._build = build
        self._compiled: dict[str, _Compiled] = {}

    def all(self, **values: Any) -> list[Row]:
        """The rows as instances; annotations are attributes of them."""
        compiled = self._ready()
        assert compiled.instance is not None, "this query selects values; ask for its rows"  # noqa: S101 - a programmer's error
        return [compiled.instance(row) for row in compiled.rows(values)]

    def first(self, **values: Any) -> Row | None:
        """The first row; None where there is none. The query itself must limit and order what it finds."""
        return next(iter(self.all(**values)), None)

    def rows(self, **values: Any) -> list[list[Any]]:
        """The bare values of a query that was made by `values_list`."""
        return self._ready().rows(values)

    def _ready(self) -> _Compiled:
        vendor = _database().vendor
        if vendor not in self._compiled:
            self._compiled[vendor] = _compile(self._build())
        return self._compiled[vendor]


def slot(name: str, output_field: Field[Any, Any] | None = None) -> Any:
    """A named place for a value in a `Query`."""
    return Slot(name, output_field)


def evaluated(source: Callable[[], Any], output_field: Field[Any, Any]) -> Any:
    """A place in a `Query` that `source` fills each time it is run."""
    return Slot("", output_field, source)


def _compile(queryset: QuerySet[Any, Any]) -> _Compiled:
    compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
    sql, values = _with_constants(*compiler.as_sql())
    selected = [column for column, _sql, _alias in compiler.select[: compiler.col_count]]
    converters = [
        (position, found, expression) for position, (found, expression) in compiler.get_converters(selected).items()
    ]
    instance = _instances(compiler) if compiler.klass_info is not None else None
    return _Compiled(sql, values, converters, bool(queryset.query.select_for_update), instance)


# Words such as states and names; a text that would need any quoting stays a value.
_WORD = re.compile(r"[\w .:-]*", re.ASCII)


def _with_constants(sql: str, values: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """The statement with its words and numbers in it, and the values left (see Note [Constants written out])."""
    waiting, left = iter(values), []

    def placed(place: re.Match[str]) -> str:
        if place[1] == "%":
            return "%%"
        value = next(waiting)
        if isinstance(value, str) and _WORD.fullmatch(value):
            return f"'{value!s}'"
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return str(int(value))
        left.append(value)
        return "%s"

    return re.sub("%([s%])", placed, sql), tuple(left)


def _instances(compiler: Any) -> Callable[[list[Any]], Any]:
    """How a row becomes an instance with its related ones, as `ModelIterable` does it."""
    select, info = compiler.select, compiler.klass_info
    start, end = info["select_fields"][0], info["select_fields"][-1] + 1
    names = [column.target.attname for column, _sql, _alias in select[start:end]]
    populators = get_related_populators(info, select, DEFAULT_DB_ALIAS)  # type: ignore[call-arg]  # the stubs are ahead of 5.2
    annotations = dict(compiler.annotation_col_map or {})

    def instance(row: list[Any]) -> Any:
        made = info["model"].from_db(DEFAULT_DB_ALIAS, names, row[start:end])
        for populator in populators:
            populator.populate(row, made)
        for name, position in annotations.items():
            setattr(made, name, row[position])
        return made

    return instance


@dataclass(frozen=True)
class Write:
    """One write that waits to be run; the same text for the same shape, so that the server knows it.

    Where it has a `name` and returns columns, the writes behind it in one `write_all` may select from it.
    """

    sql: str
    values: Sequence[Any]
    name: str = ""


def joins_writes() -> bool:
    """Whether this database runs several writes as one statement, each of which may use what the others return."""
    return _database().vendor == "postgresql"


def write_all(writes: Sequence[Write]) -> list[tuple[Any, ...]]:
    """Run writes to different rows, in no order that they could rely on: as one statement where the database can.

    Answers the rows that the last one returns; none where it returns none.
    """
    if len(writes) < 2 or not joins_writes():  # noqa: PLR2004 - what one statement alone would gain
        answers = [execute(each.sql, each.values) for each in writes]
        return answers[-1] if answers else []
    *others, last = writes
    named = ", ".join(f"{each.name or f'w{position}'} AS ({each.sql})" for position, each in enumerate(others))
    return execute(f"WITH {named} {last.sql}", [value for each in writes for value in each.values])


_together: ContextVar[list[Write] | None] = ContextVar("statements_together", default=None)


@contextmanager
def together() -> Iterator[None]:
    """Run the `insert`s of this block as one statement at its end, which is where their errors are raised.

    Nothing in the block may read what it inserts.
    """
    waiting: list[Write] = []
    token = _together.set(waiting)
    try:
        yield
    finally:
        _together.reset(token)
    write_all(waiting)


def insert(rows: Sequence[Model], *, ignore_conflicts: bool = False) -> int:
    """Insert new instances of one model in one statement; how many were stored.

    Counted primary keys are not read back.

    Raises:
        django.db.IntegrityError: a constraint refuses one of them.
    """
    if not rows:
        return 0
    write, waiting = insertion(rows, ignore_conflicts=ignore_conflicts), _together.get()
    if waiting is not None and not ignore_conflicts:
        waiting.append(write)
        stored = len(rows)
    else:
        stored = changed(write.sql, write.values)
    for row in rows:
        row._state.adding = False  # noqa: SLF001 - Django's documented place for it
    return stored


def insertion(
    rows: Sequence[Model], *, ignore_conflicts: bool = False, computed: tuple[tuple[str, str], ...] = ()
) -> Write:
    """`insert` of at least one row, for `write_all`.

    `computed` names columns, each with a text of SQL that gives it; `{row}` in it is the row's place, from 0. They are
    returned, in their order.
    """
    fields, sql = _insertion(type(rows[0]), len(rows), ignore_conflicts, computed)
    database = _database()
    return Write(sql, [_saved(field, row, database) for row in rows for field in fields])


# Columns whose texts, truths and NULLs go to either database as they are, so that Django need not be asked for each.
_BARE_FIELDS = frozenset({CharField, TextField, BooleanField})
_BARE_TYPES = frozenset({str, bool, type(None)})


def _saved(field: Field[Any, Any], row: Model, database: BaseDatabaseWrapper) -> Any:
    if type(field) in _BARE_FIELDS:
        value = vars(row).get(field.attname)
        if type(value) in _BARE_TYPES:
            return value
    return field.get_db_prep_save(field.pre_save(row, add=True), database)


@lru_cache(maxsize=256)
def _insertion(
    model: type[Model],
    count: int,
    ignore_conflicts: bool,  # noqa: FBT001 - a cache's key
    computed: tuple[tuple[str, str], ...],
) -> tuple[list[Field[Any, Any]], str]:
    generated = model._meta.auto_field  # noqa: SLF001 - Django's public name for it
    expressions = dict(computed)
    fields = [
        field
        for field in model._meta.local_concrete_fields  # noqa: SLF001 - as above
        if field is not generated and field.column not in expressions
    ]
    columns = ", ".join(f'"{name}"' for name in (*expressions, *(field.column for field in fields)))
    places = ", ".join([*expressions.values(), *["%s"] * len(fields)])
    rows = ", ".join("({})".format(places.replace("{row}", str(position))) for position in range(count))
    unless = " ON CONFLICT DO NOTHING" if ignore_conflicts else ""
    returned = " RETURNING {}".format(", ".join(expressions)) if expressions else ""
    return fields, f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES {rows}{unless}{returned}'  # noqa: SLF001 - as above


def update(model: type[Model], where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
    """Set columns of the rows whose columns equal those of `where` (a compare-and-set); how many there were."""
    write = updating(model, where, changes)
    return changed(write.sql, write.values)


def updating(model: type[Model], where: Mapping[str, Any], changes: Mapping[str, Any]) -> Write:
    """`update`, for `write_all`; not for a compare-and-set, since nobody counts the rows."""
    setting, finding = tuple(changes), tuple(where)
    fields, sql = _updating(model, setting, finding)
    database = _database()
    given = [value.pk if isinstance(value, Model) else value for value in (*changes.values(), *where.values())]
    return Write(sql, [field.get_db_prep_save(value, database) for field, value in zip(fields, given, strict=True)])


@lru_cache(maxsize=512)
def _updating(model: type[Model], setting: tuple[str, ...], finding: tuple[str, ...]) -> tuple[list[Any], str]:
    fields: list[Any] = [model._meta.get_field(name) for name in (*setting, *finding)]  # noqa: SLF001 - Django's public name for it
    columns = [f'"{field.column}" = %s' for field in fields]
    assigned, met = ", ".join(columns[: len(setting)]), " AND ".join(columns[len(setting) :])
    return fields, f'UPDATE "{model._meta.db_table}" SET {assigned} WHERE {met}'  # noqa: SLF001 - as above
