from typing import Any

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from traces.append_only import install


def forwards(_apps: Any, schema_editor: Any) -> None:
    """The guard again, which now lets the rotation of keys replace a sealed payload."""
    install(schema_editor.connection)


def backwards(_apps: Any, schema_editor: Any) -> None:
    install(schema_editor.connection, resealing=False)


class Migration(migrations.Migration):

    dependencies = [
        ('tenancy', '0002_heartbeat'),
        ('traces', '0006_events_by_kind'),
    ]

    operations = [
        migrations.CreateModel(
            name='EncryptionPolicy',
            fields=[
                ('tenant', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='tenancy.tenant')),
                ('encrypt_traces', models.BooleanField(default=False, help_text="From now on, prompts and event payloads of traces are stored encrypted, on top of being redacted. Full-text search can't see them then. What is stored already stays as it is.")),
                ('changed_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'verbose_name_plural': 'encryption policies',
            },
        ),
        migrations.CreateModel(
            name='RotationPermit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.AddField(
            model_name='retentionpolicy',
            name='raw_days',
            field=models.PositiveIntegerField(blank=True, help_text="Days after a run's end until its raw prompt, arguments and results (kept encrypted) are deleted. The redacted trace stays. Empty: for ever.", null=True, validators=[django.core.validators.MinValueValidator(1, 'Keep raw values for at least one day, or leave the field empty: for ever.')]),
        ),
        migrations.AddField(
            model_name='trace',
            name='prompt_sealed',
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name='traceevent',
            name='payload_sealed',
            field=models.BinaryField(null=True),
        ),
        migrations.AddConstraint(
            model_name='retentionpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('raw_days', None), ('raw_days__gte', 1), _connector='OR'), name='retention_raw_a_day_or_more'),
        ),
        migrations.RunPython(forwards, backwards),
    ]
