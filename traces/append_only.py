"""The database's own guard over the tables that are only ever appended to: triggers that refuse UPDATE and DELETE.

Retention may delete: inside a transaction in which it wrote a `RetentionPermit` row. The row is removed before the
commit, so no other transaction ever sees it, and it works alike on both databases. In the same way a `RotationPermit`
row lets an event's payload be sealed, which empties the clear one, or sealed again: nothing else of it, and never back.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

TABLES = ("traces_traceevent", "traces_ledgerentry")
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
        trigger = f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
        return [f"{trigger} FOR EACH ROW EXECUTE FUNCTION traces_refuse_change()"]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    unless = f"WHEN NOT {_resealed()}" if resealing and table == _EVENTS else ""
    return [
        f"DROP TRIGGER IF EXISTS {table}_no_update",
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {unless} {refuse}",
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table} WHEN NOT {_PERMIT} {refuse}",
    ]


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
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_append_only ON {table}")
            else:
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_update")
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_delete")
