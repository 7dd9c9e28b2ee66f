"""Tools that were taken out of use after a violation, until an admin of the tenant gives them back."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from routekit_site.tenancy.models import Tenant


class ContainmentQuerySet(models.QuerySet["Containment"]):
    """Filters over containments."""

    def in_force(self) -> ContainmentQuerySet:
        """Those that nobody has lifted."""
        return self.filter(lifted_at=None)


class Containment(models.Model):
    """One tool that may not run for one agent of a tenant, or for any (empty `agent_id`), since a violation.

    `detail` is redacted. `calls` and `rules` count what was revoked: open requests and approvals, remembered rules.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="containments")
    tool = models.CharField(max_length=100)
    agent_id = models.CharField(max_length=64, blank=True, default="")
    agent_name = models.CharField(max_length=120, blank=True, default="")
    attack_class = models.CharField(max_length=20)
    detail = models.CharField(max_length=500)
    tier = models.CharField(max_length=10)
    run_id = models.UUIDField()
    call_id = models.CharField(max_length=200)
    begun_at = models.DateTimeField()
    calls = models.PositiveIntegerField(default=0)
    rules = models.PositiveIntegerField(default=0)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    lift_reason = models.CharField(max_length=500, blank=True, default="")

    objects: ClassVar[models.Manager[Containment]] = ContainmentQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "tool", "agent_id"], condition=Q(lifted_at=None), name="containment_once"
            ),
            models.CheckConstraint(
                condition=Q(lifted_at=None, lifted_by=None) | Q(lifted_at__isnull=False, lifted_by__isnull=False),
                name="containment_lifting_paired",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.whom()}"

    def whom(self) -> str:
        """Whose calls are stopped, for a sentence."""
        return f"for {self.agent_name}" if self.agent_id else "for every agent"
