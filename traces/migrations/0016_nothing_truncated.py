from __future__ import annotations

from typing import Any

from django.db import migrations

from traces.append_only import install


def forwards(_apps: Any, schema_editor: Any) -> None:
    """The guard again, which now refuses TRUNCATE as well, and on SQLite INSERT OR REPLACE."""
    install(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("traces", "0015_sign_ins")]

    operations = [migrations.RunPython(forwards, migrations.RunPython.noop)]
