"""The database's own guard over the tables that are only ever appended to: triggers that refuse all but INSERT.

Retention may delete: inside a transaction in which it wrote a `RetentionPermit` row. The row is removed before the
commit, so no other transaction ever sees it, and it works alike on both databases. In the same way a `RotationPermit`
row lets an event's payload be sealed, which empties the clear one, or sealed again: nothing else of it, and never back.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

# Each with the column within which its rows are numbered.
TABLES = {"traces_traceevent": "trace_id", "traces_ledgerentry": "tenant_id"}
_EVENTS = "traces_traceevent"

_PERMIT = "EXISTS (SELECT 1 FROM traces_retentionpermit)"
_ROTATION = "EXISTS (SELECT 1 FROM traces_rotationpermit)"
_UNSEALED = (
    "id", "trace_id", "number", "kind", "at", "call_id", "gate_id", "actor", "redactor_version"
)  # fmt: skip

_POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION traces_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND {_PERMIT} THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = '{_EVENTS}' THEN
        -- `words` is computed by PostgreSQL after this trigger, from the payload alone.
        IF {_ROTATION}
            AND to_jsonb(OLD) - 'payload' - 'payload_sealed' - 'words'
                = to_jsonb(NEW) - 'payload' - 'payload_sealed' - 'words'
            AND to_jsonb(NEW) ->> 'payload_sealed' IS NOT NULL
            AND to_jsonb(NEW) -> 'payload' = (CASE WHEN to_jsonb(OLD) ->> 'payload_sealed' IS NULL
                THEN '{{}}'::jsonb ELSE to_jsonb(OLD) -> 'payload' END) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def _statements(vendor: str, table: str, *, resealing: bool) -> list[str]:
    if vendor == "postgresql":
        refuse = "EXECUTE FUNCTION traces_refuse_change()"
        rows = f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {refuse}"
        whole = f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}"
        return [rows, whole]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    unless = f"WHEN NOT {_resealed()}" if resealing and table == _EVENTS else ""
    return [
        f"DROP TRIGGER IF EXISTS {table}_no_update",
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {unless} {refuse}",
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table} WHEN NOT {_PERMIT} {refuse}",
        # INSERT OR REPLACE deletes the row in its way without a word to the triggers of DELETE.
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_replace BEFORE INSERT ON {table} WHEN {_taken(table)} {refuse}",
    ]


def _taken(table: str) -> str:
    """SQLite's condition for a new row that stands where one is already."""
    same = f"{TABLES[table]} = NEW.{TABLES[table]} AND number = NEW.number"
    return f"EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id OR ({same}))"


def _resealed() -> str:
    """SQLite's condition for a change that encryption may make."""
    same = " AND ".join(f"OLD.{column} IS NEW.{column}" for column in _UNSEALED)
    payload = "NEW.payload = CASE WHEN OLD.payload_sealed IS NULL THEN '{}' ELSE OLD.payload END"
    return f"({_ROTATION} AND {same} AND NEW.payload_sealed IS NOT NULL AND {payload})"


def install(connection: BaseDatabaseWrapper, *, resealing: bool = True) -> None:
    """Put the guard on every append-only table. `resealing`: the tables that the rotation of keys needs are there."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_POSTGRESQL_FUNCTION)
        for table in TABLES:
            for statement in _statements(connection.vendor, table, resealing=resealing):
                cursor.execute(statement)


def remove(connection: BaseDatabaseWrapper) -> None:
    """Take the guard off, for a migration that must change rows and for emptying a test database."""
    with connection.cursor() as cursor:
        for table in TABLES:
            if connection.vendor == "postgresql":
                for name in ("append_only", "no_truncate"):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {table}_{name} ON {table}")
            else:
                for name in ("no_update", "no_delete", "no_replace"):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {table}_{name}")
