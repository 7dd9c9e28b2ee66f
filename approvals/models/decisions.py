"""What people decided about gates."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.gates import ApprovalGate


class DecisionKind(models.TextChoices):
    """What a reviewer decided."""

    APPROVE = "approve"
    REJECT = "reject"
    RESPOND = "respond"


class DecisionQuerySet(models.QuerySet["Decision"]):
    """Filters over decisions."""

    def standing(self) -> DecisionQuerySet:
        """Decisions that were not undone."""
        return self.filter(undone_at=None)

    def in_order(self) -> DecisionQuerySet:
        """Oldest first; the id breaks ties."""
        return self.order_by("decided_at", "id")


class Decision(models.Model):
    """What one person decided about one gate, bound to what they were shown. Undoing marks it, nothing deletes it.

    Of an answer in the tool's place, `answer_sealed` is what the model is told and `reason` its redacted copy.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    gate = models.ForeignKey(ApprovalGate, on_delete=models.PROTECT, related_name="decisions")
    kind = models.CharField(max_length=20, choices=DecisionKind)
    # No index of its own: one of the constraints begins with this column.
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    decided_at = models.DateTimeField()
    role = models.CharField(max_length=20)
    reason = models.TextField(blank=True, default="")
    answer_sealed = models.BinaryField(null=True, blank=True)
    digest = models.CharField(max_length=64)
    view_digest = models.CharField(max_length=64)
    redactor_version = models.PositiveIntegerField()
    nonce = models.CharField(max_length=64)
    signature = models.CharField(max_length=200)
    idempotency_key = models.CharField(max_length=64)
    ballot_fingerprint = models.CharField(max_length=64)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )

    objects: ClassVar[models.Manager[Decision]] = DecisionQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind__in=[kind.value for kind in DecisionKind]),
                name="decision_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(undone_at=None, undone_by=None) | Q(undone_at__isnull=False, undone_by__isnull=False),
                name="decision_undoing_paired",
            ),
            models.CheckConstraint(
                condition=Q(kind=DecisionKind.RESPOND, answer_sealed__isnull=False)
                | (~Q(kind=DecisionKind.RESPOND) & Q(answer_sealed=None)),
                name="decision_answer_of_respond",
            ),
            models.UniqueConstraint(
                fields=["gate", "decided_by"],
                condition=Q(undone_at=None),
                name="decision_once_per_person",
            ),
            models.UniqueConstraint(fields=["decided_by", "idempotency_key"], name="decision_idempotent"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.decided_by}"
