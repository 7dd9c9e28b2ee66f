"""People, tenants and memberships."""

from __future__ import annotations

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


class Heartbeat(models.Model):
    """When a part of the site that has no page of its own was last seen at work, and what it said of itself."""

    name = models.CharField(primary_key=True, max_length=60)
    at = models.DateTimeField()
    facts = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%H:%M:%S}"
