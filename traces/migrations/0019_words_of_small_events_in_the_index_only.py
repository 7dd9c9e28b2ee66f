"""The words of a small event are in an index only: to compute them takes a few µs, and they took more room than it does.

Those of a large one are stored as before, by a trigger in place of a generated column. Nothing is rewritten: what is
stored stays until it is forgotten.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

from traces.append_only import install

EXPRESSION = """jsonb_to_tsvector('simple', payload, '["string", "numeric", "key"]')"""
LARGE = 256
FUNCTION = f"""
CREATE FUNCTION traces_keep_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.words := {EXPRESSION.replace("payload", "NEW.payload")};
    RETURN NEW;
END $$
"""
TRIGGER = f"""
CREATE TRIGGER traces_traceevent_words BEFORE INSERT ON traces_traceevent FOR EACH ROW
WHEN (pg_column_size(NEW.payload) > {LARGE}) EXECUTE FUNCTION traces_keep_words()
"""
# No partial index: PostgreSQL would not ask the statistics of one, and take each word for one that is in every 200th row.
INDEX = f"""
CREATE INDEX trace_event_words_of_small ON traces_traceevent
USING gin ((CASE WHEN words IS NULL THEN {EXPRESSION} END))
"""


def forwards(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE traces_traceevent ALTER COLUMN words DROP EXPRESSION")
        schema_editor.execute(FUNCTION)
        schema_editor.execute(TRIGGER)
        schema_editor.execute(INDEX)
        install(schema_editor.connection)


def backwards(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER traces_traceevent_words ON traces_traceevent")
        schema_editor.execute("DROP FUNCTION traces_keep_words")
        schema_editor.execute("ALTER TABLE traces_traceevent DROP COLUMN words")
        schema_editor.execute("DROP INDEX IF EXISTS trace_event_words_of_small")
        schema_editor.execute(
            f"ALTER TABLE traces_traceevent ADD COLUMN words tsvector GENERATED ALWAYS AS ({EXPRESSION}) STORED"
        )
        schema_editor.execute("CREATE INDEX trace_event_words ON traces_traceevent USING gin (words)")


class Migration(migrations.Migration):
    dependencies = [("traces", "0018_fewer_indexes")]

    operations = [migrations.RunPython(forwards, backwards)]
