"""Indexes that no query needed: those of foreign keys with which another index begins.

The indexes are dropped by their names instead of by `AlterField`, which would check the foreign keys of every row anew on
PostgreSQL and copy the tables on SQLite.
"""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

# Each index with the table and column that it was on.
DROPPED = {
    "traces_feedentry_tenant_id_3a2c80de": ("traces_feedentry", "tenant_id"),
    "traces_ledgerentry_tenant_id_7ddf85ca": ("traces_ledgerentry", "tenant_id"),
    "traces_trace_tenant_id_d2ffed7d": ("traces_trace", "tenant_id"),
}


class Migration(migrations.Migration):
    dependencies = [
        ("tenancy", "0004_invitation"),
        ("traces", "0017_retention_of_a_century_at_most"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(f"DROP INDEX IF EXISTS {name}", f"CREATE INDEX {name} ON {table} ({column})")
                for name, (table, column) in DROPPED.items()
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="feedentry",
                    name="tenant",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                migrations.AlterField(
                    model_name="ledgerentry",
                    name="tenant",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                migrations.AlterField(
                    model_name="trace",
                    name="tenant",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
            ],
        ),
    ]
