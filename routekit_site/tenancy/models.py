"""People, tenants and memberships."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models

from routekit_site.tenancy.roles import Role


class User(AbstractUser):
    """A person (or an operator, `is_superuser`) who can sign in. What they may do follows from their memberships."""

    @property
    def display_name(self) -> str:
        """The name that other people read: the full name, else the user name."""
        return self.get_full_name() or self.get_username()


class TenantQuerySet(models.QuerySet["Tenant"]):
    """Filters over tenants."""

    def of(self, user: User) -> TenantQuerySet:
        """The tenants that `user` is a member of."""
        return self.filter(memberships__user=user)


class Tenant(models.Model):
    """An organisation whose data no other one sees."""

    slug = models.SlugField(unique=True, max_length=60)
    name = models.CharField(max_length=120)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[Tenant]] = TenantQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """The role of one person in one tenant."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=[(role.value, role.value) for role in Role])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "tenant"], name="membership_once_per_tenant"),
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]),
                name="membership_role_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.tenant}"


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Filters over invitations."""

    def standing(self, now: datetime) -> InvitationQuerySet:
        """Invitations that can still be accepted."""
        return self.filter(closed_at=None, expires_at__gt=now)


class Invitation(models.Model):
    """A link by which one person can join a tenant once. Only a digest of its secret is kept."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=20, choices=[(role.value, role.value) for role in Role])
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="+")

    objects: ClassVar[InvitationQuerySet] = InvitationQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(role__in=[role.value for role in Role]), name="invitation_role_known"
            ),
            models.CheckConstraint(
                condition=models.Q(closed_at=None, closed_by=None)
                | models.Q(closed_at__isnull=False, closed_by__isnull=False),
                name="invitation_closing_paired",
            ),
        ]

    def __str__(self) -> str:
        return f"invitation to {self.tenant} as {self.role}"


class Heartbeat(models.Model):
    """When a part of the site that has no page of its own was last seen at work, and what it said of itself."""

    name = models.CharField(primary_key=True, max_length=60)
    at = models.DateTimeField()
    facts = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%H:%M:%S}"


class HaltQuerySet(models.QuerySet["Halt"]):
    """Filters over halts."""

    def standing(self) -> HaltQuerySet:
        """Halts that were not lifted."""
        return self.filter(lifted_at=None)


class Halt(models.Model):
    """The kill switch, thrown: for the whole site (no tenant), a tenant (no agent) or one agent. Kept when lifted."""

    scope = models.CharField(max_length=100)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="halts")
    agent = models.CharField(max_length=64, blank=True, default="")
    agent_name = models.CharField(max_length=120, blank=True, default="")
    reason = models.CharField(max_length=300)
    halted_at = models.DateTimeField()
    halted_by = models.CharField(max_length=150)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(max_length=150, null=True, blank=True)  # noqa: DJ001 - paired with lifted_at, null together

    objects: ClassVar[HaltQuerySet] = HaltQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["scope"], condition=models.Q(lifted_at=None), name="halt_stands_once_per_scope"
            ),
            models.CheckConstraint(
                condition=models.Q(lifted_at=None, lifted_by=None)
                | models.Q(lifted_at__isnull=False, lifted_by__isnull=False),
                name="halt_lifting_paired",
            ),
            models.CheckConstraint(
                condition=models.Q(agent="") | models.Q(tenant__isnull=False), name="halt_agent_has_tenant"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "agent"], condition=models.Q(lifted_at=None), name="halt_standing")
        ]

    def __str__(self) -> str:
        return f"halt of {self.what}"

    @property
    def what(self) -> str:
        """What is stopped, as it is put in a sentence."""
        if self.tenant is None:
            return "every agent of this site"
        if not self.agent:
            return f"every agent of {self.tenant.name}"
        return f"the agent {self.agent_name} of {self.tenant.name}"
