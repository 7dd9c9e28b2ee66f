"""The database's own guard over the tables that are only ever appended to: triggers that refuse UPDATE and DELETE.

Retention may delete: inside a transaction in which it wrote a `RetentionPermit` row. The row is removed before the
commit, so no other transaction ever sees it, and it works alike on both databases.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

TABLES = ("traces_traceevent", "traces_ledgerentry")

_PERMIT = "EXISTS (SELECT 1 FROM traces_retentionpermit)"

_POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION traces_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND {_PERMIT} THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def _statements(vendor: str, table: str) -> list[str]:
    if vendor == "postgresql":
        trigger = f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
        return [f"{trigger} FOR EACH ROW EXECUTE FUNCTION traces_refuse_change()"]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table} WHEN NOT {_PERMIT} {refuse}",
    ]


def install(connection: BaseDatabaseWrapper) -> None:
    """Put the guard on every append-only table."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_POSTGRESQL_FUNCTION)
        for table in TABLES:
            for statement in _statements(connection.vendor, table):
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
