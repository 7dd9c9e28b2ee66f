from __future__ import annotations

from typing import Any

from django.db import migrations

from traces.append_only import install

EXPRESSION = """jsonb_to_tsvector('simple', payload, '["string", "numeric", "key"]')"""


def forwards(_apps: Any, schema_editor: Any) -> None:
    """The words of each event as a column that PostgreSQL keeps: a search then compares, and computes nothing."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX trace_event_words")
        schema_editor.execute(
            f"ALTER TABLE traces_traceevent ADD COLUMN words tsvector GENERATED ALWAYS AS ({EXPRESSION}) STORED"
        )
        schema_editor.execute("CREATE INDEX trace_event_words ON traces_traceevent USING gin (words)")
        install(schema_editor.connection)


def backwards(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE traces_traceevent DROP COLUMN words")
        schema_editor.execute(f"CREATE INDEX trace_event_words ON traces_traceevent USING gin ({EXPRESSION})")


class Migration(migrations.Migration):
    dependencies = [("traces", "0011_halts_in_the_feed")]

    operations = [migrations.RunPython(forwards, backwards)]
