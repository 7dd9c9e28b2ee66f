import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("tenancy", "0001_initial"),
        ("traces", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="tenanthead",
            name="ledger_base_number",
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="tenanthead",
            name="ledger_base_hash",
            field=models.CharField(db_default="0" * 64, default="0" * 64, max_length=64),
        ),
        migrations.AlterField(model_name="ledgerentry", name="facts", field=models.TextField()),
        migrations.CreateModel(
            name="RetentionPermit",
            fields=[
                (
                    "tenant",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="tenancy.tenant",
                    ),
                ),
            ],
        ),
    ]
