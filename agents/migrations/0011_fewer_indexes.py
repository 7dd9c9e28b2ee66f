"""Indexes that no query needed: those of foreign keys with which another index begins, and those full of NULLs.

The indexes are dropped by their names instead of by `AlterField`, which would check the foreign keys of every row anew on
PostgreSQL and copy the tables on SQLite. They go last: to drop one shuts out readers as well, until the migration is
over, and the new ones take their time on a large table.
"""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Each index with the table and column that it was on.
DROPPED = {
    "agents_modelreply_run_id_526076f3": ("agents_modelreply", "run_id"),
    "agents_run_cancel_requested_by_id_6fbb7d11": ("agents_run", "cancel_requested_by_id"),
    "agents_run_submitter_id_2e80e6c7": ("agents_run", "submitter_id"),
    "agents_run_tenant_id_095a2563": ("agents_run", "tenant_id"),
    "agents_toolcall_edited_by_id_06c444a4": ("agents_toolcall", "edited_by_id"),
    "agents_toolcall_gate_id_495982a0": ("agents_toolcall", "gate_id"),
    "agents_toolcall_run_id_1a8efdb2": ("agents_toolcall", "run_id"),
}


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0010_raw_retention"),
        ("approvals", "0012_notices_of_tools"),
        ("tenancy", "0004_invitation"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", False), ("raw_forgotten_at", None)),
                fields=["tenant", "finished_at"],
                name="run_to_forget_raw",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("cancel_requested_by__isnull", False)),
                fields=["cancel_requested_by"],
                name="run_cancel_requested",
            ),
        ),
        migrations.AddIndex(
            model_name="toolcall",
            index=models.Index(
                condition=models.Q(("edited_by__isnull", False)), fields=["edited_by"], name="tool_call_edited"
            ),
        ),
        migrations.RemoveIndex(model_name="run", name="run_with_raw_values"),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(f"DROP INDEX IF EXISTS {name}", f"CREATE INDEX {name} ON {table} ({column})")
                for name, (table, column) in DROPPED.items()
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="modelreply",
                    name="run",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="replies",
                        to="agents.run",
                    ),
                ),
                migrations.AlterField(
                    model_name="run",
                    name="cancel_requested_by",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                migrations.AlterField(
                    model_name="run",
                    name="submitter",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                migrations.AlterField(
                    model_name="run",
                    name="tenant",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="tenancy.tenant",
                    ),
                ),
                migrations.AlterField(
                    model_name="toolcall",
                    name="edited_by",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                migrations.AlterField(
                    model_name="toolcall",
                    name="gate",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="calls",
                        to="approvals.approvalgate",
                    ),
                ),
                migrations.AlterField(
                    model_name="toolcall",
                    name="run",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="calls",
                        to="agents.run",
                    ),
                ),
            ],
        ),
    ]
