"""One tool call that waits for a person. Only `approvals.gates` moves a gate."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KT, KeyTransform

from approvals.effects import Reversibility
from approvals.models.choices import choices
from approvals.states import UNDOABLE, GateState
from approvals.types import Risk
from routekit_site.tenancy.halts import halted
from routekit_site.tenancy.models import Tenant

_PENDING_OR_OVER = [GateState.PENDING, GateState.EXPIRED, GateState.WITHDRAWN]
_APPROVED_ONCE = [GateState.APPROVED, GateState.SPENT, GateState.LAPSED]
_OPEN = [GateState.PENDING, GateState.APPROVED]


class ApprovalGateQuerySet(models.QuerySet["ApprovalGate"]):
    """Filters over gates."""

    def in_tenant(self, tenant_id: int) -> ApprovalGateQuerySet:
        """Only the gates of one tenant."""
        return self.filter(tenant_id=tenant_id)

    def pending(self) -> ApprovalGateQuerySet:
        """Gates that wait for a person."""
        return self.filter(state=GateState.PENDING)

    def overdue(self, now: datetime | Combinable) -> ApprovalGateQuerySet:
        """Pending gates past their decide-by; the clocks of a halted agent's gates stand still."""
        return self.pending().filter(~halted("agent_id"), decide_by__lte=now)

    def open(self) -> ApprovalGateQuerySet:
        """Gates that can still let a call run."""
        return self.filter(state__in=_OPEN)

    def of_run(self, run_id: uuid.UUID) -> ApprovalGateQuerySet:
        """The gates of one run."""
        return self.filter(run_id=run_id)

    def released(self, now: datetime | Combinable) -> ApprovalGateQuerySet:
        """Approved gates whose hold is over and that were not redeemed yet."""
        return self.filter(state=GateState.APPROVED, hold_until__lte=now)

    def answered(self, now: datetime) -> ApprovalGateQuerySet:
        """Gates that a run can go on from: nobody can decide or undo any more (`gates.standing` says what it is)."""
        over = Q(state__in=[GateState.EXPIRED, GateState.WITHDRAWN, GateState.LAPSED])
        return self.filter(over | Q(state__in=UNDOABLE, hold_until__lte=now))

    def to_escalate(self, now: datetime | Combinable) -> ApprovalGateQuerySet:
        """Pending gates whose second group is due and was not called yet."""
        return self.pending().filter(escalate_at__lte=now, escalated_at=None)

    def closed_between(self, first: datetime | Combinable, last: datetime | Combinable) -> ApprovalGateQuerySet:
        """Gates that were closed between two moments."""
        return self.filter(closed_at__gte=first, closed_at__lte=last)

    def unused(self, now: datetime | Combinable) -> ApprovalGateQuerySet:
        """Approved gates past their execute-by; the clocks of a halted agent's gates stand still."""
        return self.filter(~halted("agent_id"), state=GateState.APPROVED, execute_by__lte=now)

    def give_back(self, lost: timedelta) -> int:
        """Put off the clocks of open gates by the time for which their agents were halted; answers how many."""
        running = self.filter(~halted("agent_id"), state__in=_OPEN)
        return running.update(decide_by=F("decide_by") + lost, execute_by=F("execute_by") + lost)

    def decided_before(self, gate: ApprovalGate) -> ApprovalGateQuerySet:
        """Other gates of the same tenant and tool that were decided, the newest decision first."""
        decided = self.filter(tenant_id=gate.tenant_id, tool=gate.tool, decided_at__isnull=False).exclude(pk=gate.pk)
        return decided.order_by("-decided_at", "id")

    def for_rows(self) -> ApprovalGateQuerySet:
        """Gates as rows of the queue: of the presentation, which may be large, only sentence and submitter."""
        named = self.annotate(
            sentence_block=KeyTransform("sentence", "presentation"),
            submitter_name=KT("presentation__submitter__name"),
        )
        return named.defer("presentation", "arguments_sealed", "change")

    def after(self, last: ApprovalGate) -> ApprovalGateQuerySet:
        """The gates that come after one in the order of `most_pressing_first`, whatever has become of that one."""
        same_rank = Q(risk_rank=last.risk_rank)
        later = Q(opened_at__gt=last.opened_at) | Q(opened_at=last.opened_at, id__gt=last.pk)
        return self.filter(Q(risk_rank__lt=last.risk_rank) | (same_rank & later))

    def most_pressing_first(self) -> ApprovalGateQuerySet:
        """Highest risk first, then the oldest; the id breaks ties so that pages are stable."""
        return self.order_by("-risk_rank", "opened_at", "id")


class ApprovalGate(models.Model):
    """One tool call that waits for a person. Complete in itself: the queue needs nothing from any other floor."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="gates")
    run_id = models.UUIDField()
    call_id = models.CharField(max_length=200)
    agent_id = models.CharField(max_length=64)
    agent_name = models.CharField(max_length=120)
    agent_version = models.PositiveIntegerField()
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    tool = models.CharField(max_length=100)
    tool_schema_digest = models.CharField(max_length=64)
    arguments_sealed = models.BinaryField()
    arguments_fingerprint = models.CharField(max_length=64)
    presentation = models.JSONField()
    view_digest = models.CharField(max_length=64)
    redactor_version = models.PositiveIntegerField()
    context_digest = models.CharField(max_length=64, blank=True, default="")
    policy_digest = models.CharField(max_length=64)
    sandbox_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    nonce = models.CharField(max_length=64, unique=True)
    level = models.CharField(max_length=20)
    rule = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    permissions = models.JSONField(default=list)
    reversibility = models.CharField(max_length=30, choices=choices(Reversibility))
    risk = models.CharField(max_length=10, choices=choices(Risk))
    risk_rank = models.PositiveSmallIntegerField()
    approver_roles = models.JSONField(default=list)
    approvals_needed = models.PositiveSmallIntegerField(default=1)
    approver_expression = models.CharField(max_length=200, blank=True, default="")
    escalation_roles = models.JSONField(default=list, blank=True)
    escalate_at = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    four_eyes = models.BooleanField(default=True)
    state = models.CharField(max_length=20, choices=choices(GateState), default=GateState.PENDING)
    version = models.PositiveIntegerField(default=1)
    opened_at = models.DateTimeField()
    decide_by = models.DateTimeField()
    execute_within_seconds = models.PositiveIntegerField(default=900)
    decided_at = models.DateTimeField(null=True, blank=True)
    hold_until = models.DateTimeField(null=True, blank=True)
    execute_by = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    reopens = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reopened_as",
        db_index=False,
    )
    change = models.JSONField(null=True, blank=True)
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    edit_key = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001 - paired with edited_by, null together
    edit_fingerprint = models.CharField(max_length=64, blank=True, default="")
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )

    objects: ClassVar[models.Manager[ApprovalGate]] = ApprovalGateQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in GateState]),
                name="gate_state_known",
            ),
            models.CheckConstraint(
                condition=Q(decided_at=None, state__in=_PENDING_OR_OVER)
                | (Q(decided_at__isnull=False) & ~Q(state__in=_PENDING_OR_OVER)),
                name="gate_decided_when_not_pending",
            ),
            models.CheckConstraint(
                condition=Q(decided_at=None, hold_until=None) | Q(decided_at__isnull=False, hold_until__isnull=False),
                name="gate_decision_has_hold",
            ),
            models.CheckConstraint(
                condition=Q(execute_by__isnull=False, state__in=_APPROVED_ONCE)
                | (Q(execute_by=None) & ~Q(state__in=_APPROVED_ONCE)),
                name="gate_execute_by_when_approved",
            ),
            models.CheckConstraint(
                condition=Q(closed_at=None, state__in=_OPEN) | (Q(closed_at__isnull=False) & ~Q(state__in=_OPEN)),
                name="gate_closed_when_over",
            ),
            models.CheckConstraint(
                condition=Q(change=None) | Q(reopens__isnull=False),
                name="gate_change_of_reopened",
            ),
            models.CheckConstraint(
                condition=Q(edited_by=None, edit_key=None)
                | Q(edited_by__isnull=False, edit_key__isnull=False, reopens__isnull=False, change__isnull=False),
                name="gate_edit_paired",
            ),
            models.UniqueConstraint(
                fields=["edited_by", "edit_key"], condition=Q(edited_by__isnull=False), name="gate_edited_once"
            ),
            models.CheckConstraint(
                condition=Q(withdrawn_by=None) | Q(state=GateState.WITHDRAWN), name="gate_withdrawn_by_when_withdrawn"
            ),
            models.CheckConstraint(
                condition=Q(escalated_at=None) | Q(escalate_at__isnull=False), name="gate_escalated_when_due"
            ),
            models.CheckConstraint(condition=Q(decide_by__gt=F("opened_at")), name="gate_decide_by_later"),
            models.CheckConstraint(condition=Q(approvals_needed__gte=1), name="gate_needs_someone"),
            models.UniqueConstraint(
                fields=["run_id", "call_id"],
                condition=Q(state__in=[GateState.PENDING, GateState.APPROVED]),
                name="gate_one_open_per_call",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["tenant", "-risk_rank", "opened_at", "id"],
                condition=Q(state=GateState.PENDING),
                name="gate_queue",
            ),
            models.Index(fields=["run_id"], name="gate_by_run"),
            models.Index(
                fields=["tenant", "tool", "-decided_at"],
                condition=Q(decided_at__isnull=False),
                name="gate_precedents",
            ),
            models.Index(
                fields=["arguments_fingerprint", "-decided_at"],
                condition=Q(decided_at__isnull=False),
                name="gate_same_arguments",
            ),
            models.Index(fields=["decide_by"], condition=Q(state=GateState.PENDING), name="gate_overdue"),
            models.Index(
                fields=["escalate_at"],
                condition=Q(state=GateState.PENDING, escalated_at=None, escalate_at__isnull=False),
                name="gate_to_call_second",
            ),
            models.Index(fields=["reopens"], condition=Q(reopens__isnull=False), name="gate_by_reopened"),
            models.Index(fields=["withdrawn_by"], condition=Q(withdrawn_by__isnull=False), name="gate_withdrawn"),
            models.Index(fields=["hold_until"], condition=Q(state=GateState.APPROVED), name="gate_held"),
            models.Index(fields=["closed_at"], condition=Q(closed_at__isnull=False), name="gate_closed"),
        ]

    def __str__(self) -> str:
        return f"gate for {self.tool} ({self.state})"

    @property
    def deciding_roles(self) -> list[str]:
        """The roles that may decide now: the first group, and the second one when it was called."""
        second = self.escalation_roles if self.escalated_at is not None else []
        return list(dict.fromkeys([*self.approver_roles, *second]))
