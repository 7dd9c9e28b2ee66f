"""What a tenant's people laid down: the gate policy, the allow-list, remembered rules; and calls for simulations."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from approvals.effects import Reversibility
from approvals.models.choices import choices
from approvals.models.containments import Containment
from approvals.models.decisions import Decision
from approvals.types import AllowanceMode, ApprovalGatePolicy
from routekit_site.tenancy.models import Tenant


def gated_by_default() -> list[str]:
    """The permissions that need approval where a tenant says nothing else."""
    return [permission.value for permission in ApprovalGatePolicy().require_approval_for_permissions]


class TenantPolicy(models.Model):
    """A tenant's own part of the policy hooks, and its clocks. Without a row the defaults hold."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    require_approval_for_permissions = models.JSONField(default=gated_by_default, blank=True)
    approval_callback = models.CharField(max_length=200, blank=True, default="")
    approval_hold_seconds = models.PositiveSmallIntegerField(default=5)
    rejection_hold_seconds = models.PositiveSmallIntegerField(default=0)
    decide_by_seconds = models.PositiveIntegerField(default=24 * 3600, validators=[MinValueValidator(10)])
    execute_by_seconds = models.PositiveIntegerField(default=900, validators=[MinValueValidator(10)])
    escalation_roles = models.JSONField(default=list, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "tenant policies"

    def __str__(self) -> str:
        return f"policy of tenant {self.tenant_id}"


class ToolAllowance(models.Model):
    """One line of a tenant's allow-list: allow, ask or deny one tool, and under which conditions."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tool_allowances")
    tool = models.CharField(max_length=100)
    mode = models.CharField(max_length=20, choices=choices(AllowanceMode), default=AllowanceMode.BY_PERMISSION)
    constraints = models.JSONField(default=list, blank=True)
    reversibility = models.CharField(max_length=30, blank=True, default="", choices=choices(Reversibility))
    approver_roles = models.JSONField(default=list, blank=True)
    approvals_needed = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    approver_expression = models.CharField(max_length=200, blank=True, default="")
    four_eyes = models.BooleanField(default=True)
    decide_by_seconds = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(10)])
    execute_by_seconds = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(10)])
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "tool"], name="allowance_once_per_tool"),
            models.CheckConstraint(
                condition=Q(mode__in=[mode.value for mode in AllowanceMode]),
                name="allowance_mode_known",
            ),
            models.CheckConstraint(condition=Q(approvals_needed__gte=1), name="allowance_needs_someone"),
        ]

    def __str__(self) -> str:
        return f"{self.tool}: {self.mode}"


class ToolRuleQuerySet(models.QuerySet["ToolRule"]):
    """Filters over rules."""

    def in_force(self, now: datetime) -> ToolRuleQuerySet:
        """Rules that still speak: not ended, not expired, with uses left, from an approval that was not undone."""
        # EXISTS and no join: a join would move the conditions of an UPDATE into a subquery, which PostgreSQL does not
        # look at again after waiting for another transaction, and the last use could be taken twice.
        undone = Decision.objects.filter(pk=OuterRef("made_from_id"), undone_at__isnull=False)
        return self.filter(~Exists(undone), revoked_at=None, ended_by=None, expires_at__gt=now, uses__lt=F("max_uses"))


class ToolRule(models.Model):
    """Approve and remember: calls like one that was approved pass by themselves, for a while. Never unlimited.

    The constraints hold values of the approved call, so they are sealed; `summary` is their redacted sentence.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tool_rules")
    tool = models.CharField(max_length=100)
    agent_id = models.CharField(max_length=64, blank=True, default="")
    constraints_sealed = models.BinaryField()
    summary = models.CharField(max_length=500)
    made_from = models.ForeignKey("Decision", on_delete=models.PROTECT, null=True, related_name="rules")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    max_uses = models.PositiveIntegerField(default=100)
    uses = models.PositiveIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(Containment, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    objects: ClassVar[models.Manager[ToolRule]] = ToolRuleQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(revoked_at=None, revoked_by=None) | Q(revoked_at__isnull=False, revoked_by__isnull=False),
                name="rule_revocation_paired",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("made_at")), name="rule_expires"),
            models.CheckConstraint(condition=Q(max_uses__gte=1), name="rule_uses_bounded"),
        ]

    def __str__(self) -> str:
        return f"rule for {self.tool}"


class RecordedCallQuerySet(models.QuerySet["RecordedCall"]):
    """Filters over recorded calls."""

    def between(self, since: datetime, until: datetime) -> RecordedCallQuerySet:
        """Calls proposed from `since` on and before `until`."""
        return self.filter(at__gte=since, at__lt=until)


class RecordedCall(models.Model):
    """The facts of a call that policy decided without a person, for simulations. A gate keeps those of its own call."""

    # No index of its own: others begin with this column.
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+", db_index=False)
    run_id = models.UUIDField()
    call_id = models.CharField(max_length=200)
    at = models.DateTimeField()
    tool = models.CharField(max_length=100)
    agent_id = models.CharField(max_length=64)
    agent_filter = models.JSONField(null=True)
    arguments_sealed = models.BinaryField()
    permissions = models.JSONField(default=list)
    reversibility = models.CharField(max_length=30, choices=choices(Reversibility))
    callback_answer = models.CharField(max_length=10, blank=True, default="")
    verdict = models.CharField(max_length=20)
    level = models.CharField(max_length=20)
    rule = models.CharField(max_length=200)

    objects: ClassVar[models.Manager[RecordedCall]] = RecordedCallQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "call_id"], name="recorded_call_once"),
            models.CheckConstraint(condition=Q(verdict__in=["allow", "deny"]), name="recorded_call_verdict_known"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "at"], name="recorded_call_by_time")]

    def __str__(self) -> str:
        return f"{self.tool}: {self.verdict}"
