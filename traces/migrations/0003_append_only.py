"""Triggers that refuse UPDATE and DELETE on the append-only tables."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from traces.append_only import install, remove


def forwards(_apps: Any, schema_editor: Any) -> None:
    install(schema_editor.connection, resealing=False)


def backwards(_apps: Any, schema_editor: Any) -> None:
    remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("traces", "0002_ledger_text_and_base")]

    operations = [migrations.RunPython(forwards, backwards)]
