from __future__ import annotations

from typing import Any

from django.db import migrations, models

WORDS = """
CREATE INDEX trace_event_words ON traces_traceevent
USING gin (jsonb_to_tsvector('simple', payload, '["string", "numeric", "key"]'))
"""
LISTS = "CREATE INDEX trace_{field} ON traces_trace USING gin ({field} jsonb_path_ops)"


def forwards(_apps: Any, schema_editor: Any) -> None:
    """Indexes for the search and for the filters by what a run met; SQLite has none of the kind and scans."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(WORDS)
        for field in ("tools", "decisions", "reviewers"):
            schema_editor.execute(LISTS.format(field=field))


def backwards(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for name in ("trace_event_words", "trace_tools", "trace_decisions", "trace_reviewers"):
            schema_editor.execute(f"DROP INDEX {name}")


class Migration(migrations.Migration):
    dependencies = [("traces", "0003_append_only")]

    operations = [
        migrations.AddIndex(
            model_name="trace",
            index=models.Index(fields=["-started_at", "-run_id"], name="trace_newest_first"),
        ),
        migrations.AlterModelOptions(name="ledgerentry", options={"verbose_name_plural": "ledger entries"}),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(fields=["tenant", "-at", "-id"], name="ledger_newest_first"),
        ),
        migrations.RunPython(forwards, backwards),
    ]
