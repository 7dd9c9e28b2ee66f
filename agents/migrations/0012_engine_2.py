"""New runs need engine 2, whose rows are stored in shorter forms; those of engine 1 stay what they are."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0011_fewer_indexes")]

    operations = [
        # A default of the application's: no database knows it.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="run", name="engine", field=models.PositiveSmallIntegerField(default=2)
                )
            ]
        )
    ]
