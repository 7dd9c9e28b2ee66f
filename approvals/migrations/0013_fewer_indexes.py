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
    "approvals_approvalgate_edited_by_id_c06014df": ("approvals_approvalgate", "edited_by_id"),
    "approvals_approvalgate_reopens_id_77962a9a": ("approvals_approvalgate", "reopens_id"),
    "approvals_approvalgate_withdrawn_by_id_664931c5": ("approvals_approvalgate", "withdrawn_by_id"),
    "approvals_decision_decided_by_id_a2606d53": ("approvals_decision", "decided_by_id"),
    "approvals_recordedcall_tenant_id_e75cf79c": ("approvals_recordedcall", "tenant_id"),
}


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0012_notices_of_tools"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="approvalgate",
            index=models.Index(
                condition=models.Q(("escalate_at__isnull", False), ("escalated_at", None), ("state", "pending")),
                fields=["escalate_at"],
                name="gate_to_call_second",
            ),
        ),
        migrations.AddIndex(
            model_name="approvalgate",
            index=models.Index(
                condition=models.Q(("reopens__isnull", False)), fields=["reopens"], name="gate_by_reopened"
            ),
        ),
        migrations.AddIndex(
            model_name="approvalgate",
            index=models.Index(
                condition=models.Q(("withdrawn_by__isnull", False)), fields=["withdrawn_by"], name="gate_withdrawn"
            ),
        ),
        migrations.AddConstraint(
            model_name="approvalgate",
            constraint=models.UniqueConstraint(
                condition=models.Q(("edited_by__isnull", False)),
                fields=("edited_by", "edit_key"),
                name="gate_edited_once",
            ),
        ),
        migrations.RemoveIndex(model_name="approvalgate", name="gate_to_escalate"),
        migrations.RemoveConstraint(model_name="approvalgate", name="gate_edit_idempotent"),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(f"DROP INDEX IF EXISTS {name}", f"CREATE INDEX {name} ON {table} ({column})")
                for name, (table, column) in DROPPED.items()
            ],
            state_operations=[
                migrations.AlterField(
                    model_name="decision",
                    name="decided_by",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                migrations.AlterField(
                    model_name="recordedcall",
                    name="tenant",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tenancy.tenant",
                    ),
                ),
                migrations.AlterField(
                    model_name="approvalgate",
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
                    model_name="approvalgate",
                    name="reopens",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reopened_as",
                        to="approvals.approvalgate",
                    ),
                ),
                migrations.AlterField(
                    model_name="approvalgate",
                    name="withdrawn_by",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        # Django gives a unique text a second index on PostgreSQL, for LIKE.
        migrations.RunSQL("DROP INDEX IF EXISTS approvals_approvalgate_nonce_7b59aec7_like", migrations.RunSQL.noop),
    ]
