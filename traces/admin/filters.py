"""The filters beside the list of traces. Choices come from the newest traces: they cost the same at any size."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from traces import queries
from traces.models import Trace

Choices = list[tuple[str, str]]

_MAX_DIGITS = 18  # more than any id has, and less than a database refuses

_DURATIONS: dict[str, tuple[str, Q]] = {
    "running": ("not finished", Q(finished_at=None)),
    "minute": ("under a minute", Q(took__lt=timedelta(minutes=1))),
    "hour": ("a minute to an hour", Q(took__gte=timedelta(minutes=1), took__lt=timedelta(hours=1))),
    "day": ("an hour to a day", Q(took__gte=timedelta(hours=1), took__lt=timedelta(days=1))),
    "longer": ("over a day", Q(took__gte=timedelta(days=1))),
}
_DOLLAR = 1_000_000
_COSTS: dict[str, tuple[str, Q]] = {
    "none": ("nothing", Q(cost_microdollars=0)),
    "cent": ("under a cent", Q(cost_microdollars__gt=0, cost_microdollars__lt=_DOLLAR // 100)),
    "dollar": ("a cent to a dollar", Q(cost_microdollars__gte=_DOLLAR // 100, cost_microdollars__lt=_DOLLAR)),
    "more": ("a dollar or more", Q(cost_microdollars__gte=_DOLLAR)),
}


def met(request: HttpRequest, model_admin: Any) -> queries.Met:
    """What the newest traces of the person's tenants met, read once a request for all filters."""
    known: dict[str, queries.Met] = request.__dict__.setdefault("_recently_met", {})
    if not known:
        known["met"] = queries.recently_met(model_admin.get_queryset(request))
    return known["met"]


class _Column(admin.SimpleListFilter):
    """Offers the values that a column of the head has in the newest traces."""

    choices_from: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Value and words of each choice."""
        return [(value, value.replace("_", " ")) for value in getattr(met(request, model_admin), self.choices_from)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Trace]) -> QuerySet[Trace]:  # noqa: ARG002 - Django's signature
        """The traces with the chosen value."""
        return queryset.filter(**{self.parameter_name or "": self.value()}) if self.value() else queryset


class StateFilter(_Column):
    """By the run's state."""

    title = "state"
    parameter_name = "state"
    choices_from = "states"


class AgentFilter(_Column):
    """By agent."""

    title = "agent"
    parameter_name = "agent_name"
    choices_from = "agents"


class SubmitterFilter(admin.SimpleListFilter):
    """By the person who submitted the job."""

    title = "submitter"
    parameter_name = "submitter"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Those who submitted the newest traces."""
        return [(str(key), name) for key, name in met(request, model_admin).submitters]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Trace]) -> QuerySet[Trace]:  # noqa: ARG002 - Django's signature
        """The traces of one person."""
        value = self.value()
        if not value:
            return queryset
        known = value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS
        return queryset.filter(submitter_id=int(value)) if known else queryset.none()


class _Met(admin.SimpleListFilter):
    """By something that a run met: a tool, a decision, a reviewer."""

    field: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """What the newest traces met."""
        return [(value, value) for value in getattr(met(request, model_admin), self.field)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Trace]) -> QuerySet[Trace]:  # noqa: ARG002 - Django's signature
        """The traces that met it."""
        value = self.value()
        return queries.having(queryset, self.field, value) if value else queryset


class ToolFilter(_Met):
    """By a tool that was called."""

    title = parameter_name = "tool"
    field = "tools"


class DecisionFilter(_Met):
    """By what a reviewer decided."""

    title = parameter_name = "decision"
    field = "decisions"


class ReviewerFilter(_Met):
    """By the person who decided."""

    title = parameter_name = "reviewer"
    field = "reviewers"


class _Range(admin.SimpleListFilter):
    """By one of a few fixed ranges."""

    ranges: ClassVar[dict[str, tuple[str, Q]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:  # noqa: ARG002 - Django's signature
        """The ranges."""
        return [(key, words) for key, (words, _) in self.ranges.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Trace]) -> QuerySet[Trace]:  # noqa: ARG002 - Django's signature
        """The traces in the chosen range."""
        chosen = self.ranges.get(self.value() or "")
        return queryset.annotate(took=queries.duration()).filter(chosen[1]) if chosen else queryset


class DurationFilter(_Range):
    """By how long the run took."""

    title = parameter_name = "duration"
    ranges = _DURATIONS


class CostFilter(_Range):
    """By what the run cost."""

    title = parameter_name = "cost"
    ranges = _COSTS
