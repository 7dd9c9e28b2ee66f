"""Rows of the approvals floor that one person arranges for themselves: settings, saved filters, snoozed calls."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from routekit_site.tenancy.models import Tenant


class PersonalSettings(models.Model):
    """How one person wants to be told and to work. Without a row the defaults hold.

    Quiet hours are times of day in `time_zone` (an IANA name); they may run over midnight.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+")
    email_waiting = models.BooleanField(default=False)
    email_decided = models.BooleanField(default=False)
    email_contained = models.BooleanField(default=False)
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_to = models.TimeField(null=True, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    single_keys = models.BooleanField(default=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "personal settings"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_to=None) | Q(quiet_from__isnull=False, quiet_to__isnull=False),
                name="quiet_hours_paired",
            ),
        ]

    def __str__(self) -> str:
        return f"settings of person {self.user_id}"


class SavedFilter(models.Model):
    """A filter of the queue that one person has given a name, in one tenant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=40)
    q = models.CharField(max_length=200, blank=True, default="")
    risk = models.CharField(max_length=10, blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "tenant", "name"], name="saved_filter_once_per_name"),
            models.CheckConstraint(condition=~Q(q="", risk=""), name="saved_filter_filters"),
        ]

    def __str__(self) -> str:
        return self.name


class SnoozeQuerySet(models.QuerySet["Snooze"]):
    """Filters over snoozed calls."""

    def asleep(self, user_id: int, now: datetime) -> SnoozeQuerySet:
        """The snoozes of one person that are not over."""
        return self.filter(user_id=user_id, until__gt=now)


class Snooze(models.Model):
    """A waiting call that one person wants out of their list until a moment. Nobody else's list changes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    gate = models.ForeignKey("approvals.ApprovalGate", on_delete=models.CASCADE, related_name="+")
    until = models.DateTimeField()

    objects: ClassVar[models.Manager[Snooze]] = SnoozeQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "gate"], name="snooze_once_per_person")]

    def __str__(self) -> str:
        return f"snoozed until {self.until:%H:%M}"
