"""Rows of the traces floor. Only this floor touches them; everybody else calls `recorder`, `live` or `ledger`."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.core.validators import BaseValidator, MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from routekit_site.tenancy.models import Tenant
from traces.kinds import EventKind, FeedTopic, LedgerKind

MAX_DAYS = 36_500  # a hundred years; much more, and the calendar ends


class TraceQuerySet(models.QuerySet["Trace"]):
    """Filters over traces."""

    def in_tenants(self, tenant_ids: list[int]) -> TraceQuerySet:
        """Only the traces of these tenants."""
        return self.filter(tenant_id__in=tenant_ids)


class Trace(models.Model):
    """The head of one run's trace: what lists and filters need, and the number of its last event."""

    run_id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # No index of its own: others begin with this column.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    agent_name = models.CharField(max_length=120)
    submitter = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=20)
    # Redacted. Empty where the tenant encrypts its traces: then the redacted text is sealed.
    prompt = models.TextField()
    prompt_sealed = models.BinaryField(null=True)
    tools = models.JSONField(default=list)
    reviewers = models.JSONField(default=list)
    decisions = models.JSONField(default=list)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cost_microdollars = models.PositiveBigIntegerField(default=0)
    last_number = models.PositiveIntegerField(default=0)

    objects = TraceQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-started_at", "run_id"], name="trace_by_start"),
            models.Index(fields=["tenant", "state", "-started_at"], name="trace_by_state"),
            models.Index(fields=["-started_at", "-run_id"], name="trace_newest_first"),
            # What is still to be encrypted of tenants that ask for it.
            models.Index(fields=["tenant"], condition=Q(prompt_sealed=None), name="trace_in_clear"),
        ]

    def __str__(self) -> str:
        return f"trace of run {self.run_id}"


class TraceEvent(models.Model):
    """One thing that happened in a run; redacted before it was written, never changed after."""

    # No index of its own: the one of the constraint begins with this column.
    trace = models.ForeignKey(Trace, on_delete=models.PROTECT, related_name="events", db_index=False)
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=40, choices=[(kind.value, kind.value) for kind in EventKind])
    at = models.DateTimeField()
    call_id = models.CharField(max_length=200, blank=True, default="")
    gate_id = models.UUIDField(null=True, blank=True)
    actor = models.CharField(max_length=200, blank=True, default="")
    # Redacted. Empty where the tenant encrypts its traces: then the redacted payload is sealed.
    payload = models.JSONField(default=dict)
    payload_sealed = models.BinaryField(null=True)
    redactor_version = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["trace", "number"], name="trace_event_numbered"),
            models.CheckConstraint(condition=Q(number__gte=1), name="trace_event_number_from_one"),
        ]
        indexes: ClassVar = [models.Index(fields=["kind"], name="trace_event_by_kind")]

    def __str__(self) -> str:
        return f"{self.kind} #{self.number} of {self.trace_id}"


class TenantHead(models.Model):
    """The last numbers of one tenant's feed and ledger.

    Locking this row is what makes both gapless and in commit order: a transaction takes its numbers here as its last
    act and holds the row until it commits.
    """

    FIRST_HASH: ClassVar[str] = "0" * 64

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    feed_number = models.PositiveBigIntegerField(default=0)
    ledger_number = models.PositiveBigIntegerField(default=0)
    ledger_hash = models.CharField(max_length=64, default=FIRST_HASH)
    # Where the chain begins once retention has forgotten its first entries: the last forgotten number and its hash.
    ledger_base_number = models.PositiveBigIntegerField(default=0, db_default=0)
    ledger_base_hash = models.CharField(max_length=64, default=FIRST_HASH, db_default=FIRST_HASH)

    def __str__(self) -> str:
        return f"head of tenant {self.tenant_id}"


class FeedEntry(models.Model):
    """One numbered line of a tenant's live feed. Carries ids and states, never content."""

    # No index of its own: the one of the constraint begins with this column.
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    topic = models.CharField(max_length=20, choices=[(topic.value, topic.value) for topic in FeedTopic])
    subject_id = models.CharField(max_length=64)
    facts = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "number"], name="feed_entry_numbered")]

    def __str__(self) -> str:
        return f"{self.topic} {self.subject_id} #{self.number}"


class LedgerEntry(models.Model):
    """One link of a tenant's hash chain: SHA-256 over the previous hash and the canonical JSON of the entry."""

    # No index of its own: the one of the constraint begins with this column.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    kind = models.CharField(max_length=20, choices=[(kind.value, kind.value) for kind in LedgerKind])
    actor = models.CharField(max_length=200)
    # Text, not JSON: the hash is over these very bytes, which a JSON column would rewrite.
    facts = models.TextField()
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "number"], name="ledger_entry_numbered")]
        indexes: ClassVar = [models.Index(fields=["tenant", "-at", "-id"], name="ledger_newest_first")]

    def __str__(self) -> str:
        return f"ledger {self.kind} #{self.number}"


class RetentionPermit(models.Model):
    """While a row stands here, the append-only tables let rows be deleted (see `traces.append_only`).

    `retention` writes it, deletes, and removes it again in one transaction, so no other transaction ever sees it.
    """

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")

    def __str__(self) -> str:
        return f"retention at work in tenant {self.tenant_id}"


class RotationPermit(models.Model):
    """While a row stands here, an event's payload may be sealed, or sealed again, and nothing else of it be changed.

    `sealing.resealing` writes it and removes it again in one transaction, as `retention` does with its permit.
    """

    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return "rotation of keys at work"


class EncryptionPolicy(models.Model):
    """Whether one tenant's traces are encrypted at rest. Without a row they are not."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    encrypt_traces = models.BooleanField(
        default=False,
        help_text=(
            "Prompts and event payloads of traces are stored encrypted, on top of being redacted; those that are "
            "stored already are encrypted in the background, within minutes or hours. Full-text search can't see them. "
            "When this is turned off again, new traces are stored in clear, and what is encrypted stays encrypted."
        ),
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "encryption policies"

    def __str__(self) -> str:
        return f"encryption policy of tenant {self.tenant_id}"


class RedactionPolicy(models.Model):
    """How one tenant redacts: the fields of `PIIRedactionHook` as JSON. Without a row the defaults hold."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    hook = models.JSONField(default=dict)
    # Grows with each change and never starts again: processes keep compiled redactors by it. So no row is ever deleted.
    version = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "redaction policies"

    def __str__(self) -> str:
        return f"redaction policy of tenant {self.tenant_id}"


def _days(what: str) -> list[BaseValidator]:
    return [
        MinValueValidator(1, f"Keep {what} for at least one day, or leave the field empty: for ever."),
        MaxValueValidator(MAX_DAYS, f"Keep {what} for {MAX_DAYS:,} days at most, or leave the field empty: for ever."),
    ]


class RetentionPolicy(models.Model):
    """How long one tenant keeps its traces, raw values and ledger. Without a row, or with an empty field: for ever."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    trace_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=_days("traces"),
        help_text="Days after a run's end until its trace is deleted. Empty: for ever.",
    )
    ledger_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=_days("the ledger"),
        help_text="Days until the oldest ledger entries are deleted. Empty: for ever.",
    )
    raw_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=_days("raw values"),
        help_text=(
            "Days after a run's end until its raw prompt, arguments and results (kept encrypted) are deleted. "
            "The redacted trace stays. Empty: for ever."
        ),
    )
    legal_hold = models.BooleanField(default=False, help_text="Nothing of this tenant is deleted while this is set.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "retention policies"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(trace_days=None) | Q(trace_days__gte=1), name="retention_traces_a_day_or_more"
            ),
            models.CheckConstraint(
                condition=Q(ledger_days=None) | Q(ledger_days__gte=1), name="retention_ledger_a_day_or_more"
            ),
            models.CheckConstraint(condition=Q(raw_days=None) | Q(raw_days__gte=1), name="retention_raw_a_day_or_more"),
        ]

    def __str__(self) -> str:
        return f"retention policy of tenant {self.tenant_id}"
