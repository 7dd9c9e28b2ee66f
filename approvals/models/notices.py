"""Rows of the approvals floor by which people and other systems are told: endpoints, notices, the feed's reader."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from routekit_site.tenancy.models import Tenant


class NoticeEvent(models.TextChoices):
    """What a notice tells of a gate or a tool. `test` comes from the admin's button alone."""

    WAITING = "gate.waiting", "a call waits for a decision"
    ESCALATED = "gate.escalated", "half of a call's time is over and a second group was called"
    DECIDED = "gate.decided", "a call was approved, rejected or answered"
    EXPIRED = "gate.expired", "nobody decided in time"
    CLOSED = "gate.closed", "a call was withdrawn or its approval lapsed"
    CONTAINED = "tool.contained", "a tool was taken out of use after a violation"
    LIFTED = "tool.lifted", "a tool was given back"
    TEST = "test", "a test from the admin"


class NoticeState(models.TextChoices):
    """Where a notice is."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up", "given up"
    DROPPED = "dropped", "not needed any more"


class NoticeReader(models.Model):
    """How far a tenant's feed was turned into notices, and until when one worker has it to itself."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    feed_number = models.BigIntegerField()
    taken_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"notices of tenant {self.tenant_id} up to {self.feed_number}"


class WebhookEndpoint(models.Model):
    """An address of another system that a tenant wants told. Its secret is sealed and shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    url = models.CharField("address", max_length=500)
    description = models.CharField(max_length=120, blank=True, default="")
    events = models.JSONField(default=list)
    enabled = models.BooleanField(default=True)
    secret_sealed = models.BinaryField()
    previous_secret_sealed = models.BinaryField(null=True)
    previous_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0, editable=False)
    retry_at = models.DateTimeField(null=True, editable=False)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "url"], name="webhook_once_per_address"),
            models.CheckConstraint(
                condition=Q(previous_secret_sealed=None, previous_until=None)
                | Q(previous_secret_sealed__isnull=False, previous_until__isnull=False),
                name="webhook_previous_secret_paired",
            ),
        ]

    def __str__(self) -> str:
        return self.description or self.url


class NoticeQuerySet(models.QuerySet["Notice"]):
    """Filters over notices."""

    def due(self, now: datetime) -> NoticeQuerySet:
        """Those that wait and whose time has come, oldest first."""
        return self.filter(state=NoticeState.WAITING, next_at__lte=now).order_by("at", "number", "id")

    def over_since(self, moment: datetime) -> NoticeQuerySet:
        """Those that were done with before a moment."""
        return self.filter(done_at__lt=moment)


class Notice(models.Model):
    """One thing to tell one endpoint or one person: the row is the message, and afterwards the delivery log.

    `facts` hold ids, states and the names of tool, agent and risk; never arguments, sentences or reasons.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, null=True, related_name="notices")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+")
    event = models.CharField(max_length=20, choices=NoticeEvent)
    gate = models.ForeignKey("approvals.ApprovalGate", on_delete=models.CASCADE, null=True, related_name="+")
    facts = models.JSONField(default=dict)
    number = models.BigIntegerField("number in the feed", default=0)
    at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=NoticeState, default=NoticeState.WAITING)
    next_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    last_problem = models.CharField(max_length=200, blank=True, default="")
    done_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager[Notice]] = NoticeQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(endpoint=None, person__isnull=False) | Q(endpoint__isnull=False, person=None),
                name="notice_to_one_of_both",
            ),
            models.CheckConstraint(condition=Q(state__in=NoticeState.values), name="notice_state_known"),
            models.CheckConstraint(
                condition=Q(state=NoticeState.WAITING, done_at=None)
                | (~Q(state=NoticeState.WAITING) & Q(done_at__isnull=False)),
                name="notice_done_when_not_waiting",
            ),
            models.CheckConstraint(condition=Q(next_at__gte=F("at")), name="notice_not_before_its_cause"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "next_at"], condition=Q(state=NoticeState.WAITING), name="notice_due"),
            models.Index(fields=["tenant", "-at"], name="notice_log"),
            models.Index(fields=["done_at"], condition=Q(done_at__isnull=False), name="notice_done"),
        ]

    def __str__(self) -> str:
        return f"{self.event} ({self.state})"
