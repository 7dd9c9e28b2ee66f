"""Rows of the agents floor: agents, runs, the model's replies and the tool calls in them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import Combinable

from agents.states import RUN_FINISHED, CallState, RunState
from approvals.models import ApprovalGate
from approvals.states import UNDOABLE, GateState
from routekit_site.tenancy.halts import halted
from routekit_site.tenancy.models import Tenant, User

# The version of the run engine that a row needs. A worker whose own is lower leaves the run to a newer one.
ENGINE = 1


class AgentQuerySet(models.QuerySet["Agent"]):
    """Filters over agents."""

    def in_tenant(self, tenant_id: int) -> AgentQuerySet:
        """Only the agents of one tenant."""
        return self.filter(tenant_id=tenant_id)


class Agent(models.Model):
    """What a tenant's people can give a job to: instructions, a model, tools and the box they run in."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="agents")
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=300, blank=True, default="")
    instructions = models.TextField(blank=True, default="")
    provider = models.CharField(max_length=40, default="scripted")
    model = models.CharField(max_length=120, blank=True, default="")
    tool_filter = models.JSONField(null=True, blank=True)
    sandbox = models.JSONField(default=dict, blank=True)
    runtime = models.JSONField(default=dict, blank=True)
    max_steps = models.PositiveIntegerField(default=20)
    max_tokens = models.PositiveIntegerField(default=200_000)
    max_cost_microdollars = models.PositiveBigIntegerField(default=5_000_000)
    time_limit_seconds = models.PositiveIntegerField(default=900)
    input_price = models.PositiveBigIntegerField(default=0, help_text="Microdollars for a million tokens sent.")
    output_price = models.PositiveBigIntegerField(default=0, help_text="Microdollars for a million tokens received.")
    enabled = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[AgentQuerySet] = AgentQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["tenant", "name"], name="agent_name_per_tenant")]

    def __str__(self) -> str:
        return self.name


class TenantCeiling(models.Model):
    """What no agent of a tenant gets more of: limits of a call and runtime defaults, each by name. Set by operators."""

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, primary_key=True, related_name="ceiling")
    limits = models.JSONField(default=dict, blank=True)
    runtime = models.JSONField(default=dict, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"ceiling of tenant {self.tenant_id}"


class RunQuerySet(models.QuerySet["Run"]):
    """Filters over runs."""

    def in_tenant(self, tenant_id: int) -> RunQuerySet:
        """Only the runs of one tenant."""
        return self.filter(tenant_id=tenant_id)

    def submitted_by(self, user: User) -> RunQuerySet:
        """Only the runs that `user` submitted."""
        return self.filter(submitter=user)

    def unfinished(self) -> RunQuerySet:
        """Runs that can still change."""
        return self.exclude(state__in=RUN_FINISHED)

    def abandoned(self, now: datetime) -> RunQuerySet:
        """Running runs whose lease ran out: their worker is gone."""
        return self.filter(state=RunState.RUNNING, lease_until__lte=now)

    def held(self, run_id: uuid.UUID, fence: int) -> RunQuerySet:
        """The run, while the worker with this fencing token still holds it."""
        return self.filter(id=run_id, state=RunState.RUNNING, fence=fence)

    def startable(self, now: datetime | Combinable) -> RunQuerySet:
        """Runs that a worker may claim and that wait for no person: queued and due, or left by a dead worker."""
        due = Q(state=RunState.QUEUED) & (Q(wake_at=None) | Q(wake_at__lte=now))
        abandoned = Q(state=RunState.RUNNING, lease_until__lte=now)
        return self.filter(due | abandoned, ~halted("agent_id"), engine__lte=ENGINE)

    def answered(self, now: datetime | Combinable) -> RunQuerySet:
        """Waiting runs of which every gate is decided, and any hold after that is over."""
        undecided = Exists(ToolCall.objects.undecided(now).filter(run=OuterRef("pk")))
        return self.filter(~undecided, ~halted("agent_id"), state=RunState.WAITING, engine__lte=ENGINE)

    def without_open_gates(self) -> RunQuerySet:
        """Runs of which no gate can still let a call run. Told from an index alone, however many gates there are."""
        return self.filter(~Exists(ApprovalGate.objects.open().filter(run_id=OuterRef("pk"))))

    def newer(self) -> RunQuerySet:
        """Unfinished runs that need a newer engine than this release has."""
        return self.filter(engine__gt=ENGINE, finished_at=None)

    def ready(self, now: datetime | Combinable) -> RunQuerySet:
        """Runs that a worker may claim: nothing that they wait for is outstanding."""
        return self.startable(now) | self.answered(now)

    def unrung(self, before: datetime | Combinable) -> RunQuerySet:
        """Runs for which no sweep has rung since `before`."""
        return self.filter(Q(rung_at=None) | Q(rung_at__lte=before))

    def newest_first(self) -> RunQuerySet:
        """Newest first; the id breaks ties so that pages are stable."""
        return self.order_by("-created_at", "-id")


class Run(models.Model):
    """One job given to one agent. `fence` grows with each claim; a write with an older fence is refused."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Neither has an index of its own: others begin with these columns.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="runs", db_index=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="runs")
    agent_version = models.PositiveIntegerField()
    submitter = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    idempotency_key = models.CharField(max_length=64)
    prompt_sealed = models.BinaryField()
    prompt_redacted = models.TextField()
    prompt_digest = models.CharField(max_length=32, default="")
    state = models.CharField(
        max_length=20,
        choices=[(state.value, state.value.replace("_", " ")) for state in RunState],
    )
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    waiting_since = models.DateTimeField(null=True, blank=True)
    clock_started_at = models.DateTimeField(null=True, blank=True)
    raw_forgotten_at = models.DateTimeField(null=True, blank=True)
    worked_milliseconds = models.PositiveBigIntegerField(default=0)
    waited_milliseconds = models.PositiveBigIntegerField(default=0)
    fence = models.PositiveIntegerField(default=0)
    leased_by = models.CharField(max_length=120, null=True, blank=True)  # noqa: DJ001 - paired with lease_until, null together
    lease_until = models.DateTimeField(null=True, blank=True)
    wake_at = models.DateTimeField(null=True, blank=True)
    rung_at = models.DateTimeField(null=True, blank=True)
    crashes = models.PositiveSmallIntegerField(default=0)
    model_failures = models.PositiveSmallIntegerField(default=0)
    engine = models.PositiveSmallIntegerField(default=ENGINE)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    max_steps = models.PositiveIntegerField()
    max_tokens = models.PositiveIntegerField()
    max_cost_microdollars = models.PositiveBigIntegerField()
    time_limit_seconds = models.PositiveIntegerField()
    steps = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cost_microdollars = models.PositiveBigIntegerField(default=0)
    output_redacted = models.TextField(blank=True, default="")
    error_kind = models.CharField(max_length=60, blank=True, default="")
    error_message = models.CharField(max_length=2000, blank=True, default="")
    mac = models.CharField(max_length=32, default="")

    objects: ClassVar[RunQuerySet] = RunQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["submitter", "idempotency_key"], name="run_submitted_once"),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in RunState]),
                name="run_state_known",
            ),
            models.CheckConstraint(
                condition=Q(leased_by=None, lease_until=None) | Q(leased_by__isnull=False, lease_until__isnull=False),
                name="run_lease_paired",
            ),
            models.CheckConstraint(
                condition=Q(cancel_requested_at=None, cancel_requested_by=None)
                | Q(cancel_requested_at__isnull=False, cancel_requested_by__isnull=False),
                name="run_cancel_request_paired",
            ),
            models.CheckConstraint(
                condition=Q(finished_at=None) ^ Q(state__in=sorted(s.value for s in RUN_FINISHED)),
                name="run_finished_has_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="run_newest"),
            models.Index(fields=["submitter", "-created_at"], name="run_by_submitter"),
            models.Index(
                fields=["state", "lease_until"],
                condition=Q(state__in=[RunState.QUEUED, RunState.RUNNING, RunState.WAITING]),
                name="run_to_sweep",
            ),
            models.Index(
                fields=["tenant", "finished_at"],
                condition=Q(raw_forgotten_at=None, finished_at__isnull=False),
                name="run_to_forget_raw",
            ),
            models.Index(
                fields=["cancel_requested_by"],
                condition=Q(cancel_requested_by__isnull=False),
                name="run_cancel_requested",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.id} ({self.state})"


class ModelReply(models.Model):
    """What the model answered at one step. With the prompt and the calls it makes up the transcript."""

    # No index of its own: the one of the constraint begins with this column.
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="replies", db_index=False)
    step = models.PositiveIntegerField()
    text_sealed = models.BinaryField()
    text_redacted = models.TextField(blank=True, default="")
    finish_reason = models.CharField(max_length=40)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    mac = models.CharField(max_length=32, default="")

    class Meta:
        verbose_name_plural = "model replies"
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "step"], name="model_reply_once_per_step")]

    def __str__(self) -> str:
        return f"reply {self.step} of {self.run_id}"


class ToolCallQuerySet(models.QuerySet["ToolCall"]):
    """Filters over tool calls."""

    def undecided(self, now: datetime | Combinable) -> ToolCallQuerySet:
        """Calls whose gate still waits for a person, or was decided and can still be undone."""
        held = Q(gate__state__in=UNDOABLE, gate__hold_until__gt=now)
        return self.filter(
            Q(gate__state=GateState.PENDING) | held,
            state__in=[CallState.GATED, CallState.UNKNOWN],
        )

    def in_order(self) -> ToolCallQuerySet:
        """As the model proposed them."""
        return self.order_by("step", "position")


class ToolCall(models.Model):
    """One tool call that the model proposed. Points down at its gate where it needed one.

    Where a reviewer edited it, the arguments are the edited ones and `proposed_sealed` holds the model's own.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # No index of its own: those of the constraints begin with this column.
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="calls", db_index=False)
    step = models.PositiveIntegerField()
    position = models.PositiveSmallIntegerField()
    call_id = models.CharField(max_length=200)
    tool = models.CharField(max_length=100)
    arguments_sealed = models.BinaryField()
    arguments_redacted = models.JSONField()
    arguments_digest = models.CharField(max_length=64)
    proposed_sealed = models.BinaryField(null=True, blank=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    state = models.CharField(max_length=20, choices=[(state.value, state.value) for state in CallState])
    level = models.CharField(max_length=20, blank=True, default="")
    rule = models.CharField(max_length=200, blank=True, default="")
    reason = models.CharField(max_length=2000, blank=True, default="")
    gate = models.ForeignKey(
        ApprovalGate,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="calls",
        db_index=False,
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    result_sealed = models.BinaryField(null=True, blank=True)
    result_redacted = models.JSONField(null=True, blank=True)
    result_digest = models.CharField(max_length=32, blank=True, default="")
    outcome = models.CharField(max_length=60, blank=True, default="")
    tier = models.CharField(max_length=10, blank=True, default="")
    violations = models.PositiveSmallIntegerField(default=0)
    usage = models.JSONField(default=dict)
    mac = models.CharField(max_length=32, default="")

    objects: ClassVar[ToolCallQuerySet] = ToolCallQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "step", "position"], name="tool_call_position"),
            models.UniqueConstraint(fields=["run", "step", "call_id"], name="tool_call_once"),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in CallState]),
                name="tool_call_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(state=CallState.GATED) | Q(gate__isnull=False),
                name="tool_call_gated_has_gate",
            ),
            models.CheckConstraint(
                condition=Q(edited_at=None, edited_by=None, proposed_sealed=None)
                | Q(edited_at__isnull=False, edited_by__isnull=False, proposed_sealed__isnull=False),
                name="tool_call_edit_paired",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["gate"], name="tool_call_by_gate"),
            models.Index(fields=["edited_by"], condition=Q(edited_by__isnull=False), name="tool_call_edited"),
        ]

    def __str__(self) -> str:
        return f"{self.tool} ({self.state})"


class LiveReplay(models.Model):
    """A replay of a run in which a worker asks the model anew. `report` is `agents.replay.Report`, redacted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="live_replays")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField()
    rung_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    report = models.JSONField(null=True, blank=True)
    problem = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(finished_at=None) | Q(started_at__isnull=False), name="live_replay_started_before_finished"
            ),
            models.CheckConstraint(
                condition=Q(finished_at=None, report=None) | Q(finished_at__isnull=False),
                name="live_replay_report_at_end",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["rung_at"], condition=Q(started_at=None), name="live_replay_to_ring"),
        ]

    def __str__(self) -> str:
        return f"live replay of run {self.run_id}"
