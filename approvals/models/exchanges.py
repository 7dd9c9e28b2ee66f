"""What happens around a waiting gate and moves nothing: claims, reveals of masked values, remarks."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.gates import ApprovalGate
from routekit_site.tenancy.models import Tenant


class ClaimQuerySet(models.QuerySet["Claim"]):
    """Filters over claims."""

    def standing(self, now: datetime) -> ClaimQuerySet:
        """Claims that were renewed in time."""
        return self.filter(until__gt=now)


class Claim(models.Model):
    """Who has taken a waiting gate upon themselves, softly: others are told, and nobody is kept from deciding."""

    gate = models.OneToOneField(ApprovalGate, on_delete=models.CASCADE, primary_key=True, related_name="claim")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    since = models.DateTimeField()
    until = models.DateTimeField()
    taken_from = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )

    objects: ClassVar[models.Manager[Claim]] = ClaimQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(until__gt=models.F("since")), name="claim_ends")]

    def __str__(self) -> str:
        return f"claim of {self.person}"


class Reveal(models.Model):
    """One masked value that was shown to one person, and why. The value itself is kept nowhere."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    gate = models.ForeignKey(ApprovalGate, on_delete=models.PROTECT, related_name="reveals")
    argument = models.CharField(max_length=200)
    label = models.CharField(max_length=60)
    mark = models.CharField(max_length=16)
    reason = models.TextField()
    revealed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    revealed_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["tenant", "-revealed_at"], name="reveal_newest")]

    def __str__(self) -> str:
        return f"{self.label} shown to {self.revealed_by}"


class RemarkKind(models.TextChoices):
    """What a remark is."""

    QUESTION = "question"
    ANSWER = "answer"
    NOTE = "note"


class Remark(models.Model):
    """What people say to each other about a waiting gate: a question to the submitter, an answer, a note. Redacted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    gate = models.ForeignKey(ApprovalGate, on_delete=models.PROTECT, related_name="remarks")
    kind = models.CharField(max_length=20, choices=RemarkKind)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    text = models.TextField()
    answers = models.OneToOneField("self", on_delete=models.PROTECT, null=True, blank=True, related_name="answered_by")
    key = models.CharField(max_length=64)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=RemarkKind.values), name="remark_kind_known"),
            models.CheckConstraint(
                condition=Q(kind=RemarkKind.ANSWER, answers__isnull=False)
                | (~Q(kind=RemarkKind.ANSWER) & Q(answers=None)),
                name="remark_answer_has_question",
            ),
            models.UniqueConstraint(fields=["author", "key"], name="remark_idempotent"),
        ]
        indexes: ClassVar = [models.Index(fields=["gate", "at"], name="remark_by_gate")]

    def __str__(self) -> str:
        return f"{self.kind} by {self.author}"
