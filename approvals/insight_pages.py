"""The insights page: a tenant's figures as charts and tables, and the rules that would spare work, back-tested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.shortcuts import resolve_url

from approvals import rules
from approvals.charts import Part, Span, duration_scale, place, stacked
from approvals.insights import WINDOW, Day, Habit, Insights, ReviewerFigures, Times, ToolFigures, insights
from approvals.models import Decision
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Capability, capabilities_of

MOST_BACK_TESTS = 5


@dataclass(frozen=True)
class DayColumn:
    """One day of the chart: where it stands (percent) and its pieces from the bottom up."""

    date: date
    at: float
    width: float
    total: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class OutcomeBar:
    """One tool's gates by how they ended."""

    figures: ToolFigures
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Advice:
    """A tool that was approved every time, and what a rule would pass. `url` is empty for who may not make it."""

    tool: str
    approvals: int
    text: str
    passed: int
    url: str
    refusal: str


def insights_page(membership: Membership, user: User, now: datetime) -> dict[str, Any]:
    """What the template needs. Who may not manage people sees the others' times only as part of the whole."""
    found = insights(membership.tenant_id, now)
    all_reviewers = Capability.MANAGE_MEMBERS in capabilities_of(membership.role)
    reviewers = [each for each in found.reviewers if all_reviewers or each.user_id == user.pk]
    rows = _times_rows(found, reviewers)
    end, marks = duration_scale(max((row[1].p95 for group in rows.values() for row in group), default=60.0))
    spans = {name: [_span(label, times, end) for label, times in group] for name, group in rows.items()}
    return {
        "found": found,
        "days_in_window": WINDOW.days,
        "marks": marks,
        "tool_spans": spans["tools"],
        "reviewer_spans": spans["reviewers"],
        "all_reviewers": all_reviewers,
        "reviewers": reviewers,
        "outcomes": [_outcomes(figures) for figures in found.tools],
        "columns": _columns(found.days),
        "most_a_day": max((day.total for day in found.days), default=0),
        "advice": [_advice(habit, user, now) for habit in found.habits[:MOST_BACK_TESTS]],
        "place": "insights",
    }


def _times_rows(found: Insights, reviewers: Sequence[ReviewerFigures]) -> dict[str, list[tuple[str, Times]]]:
    everybody = [("everybody", found.times)] if found.times else []
    return {
        "tools": [(figures.tool, figures.times) for figures in found.tools if figures.times],
        "reviewers": [*everybody, *((figures.name, figures.times) for figures in reviewers)],
    }


def _span(label: str, times: Times, end: float) -> Span:
    return Span(label, times.count, times.p50, times.p95, place(times.p50, end), place(times.p95, end))


def _outcomes(figures: ToolFigures) -> OutcomeBar:
    known = (("approved", figures.approved), ("rejected", figures.rejected), ("expired", figures.expired))
    rest = figures.opened - sum(count for _, count in known)
    return OutcomeBar(figures, stacked((*known, ("other", rest)), figures.opened))


def _columns(days: Sequence[Day]) -> list[DayColumn]:
    most, step = max((day.total for day in days), default=0), 100 / max(1, len(days))
    return [
        DayColumn(day.date, round(number * step, 2), round(step * 0.72, 2), day.total, _pieces(day, most))
        for number, day in enumerate(days)
    ]


def _pieces(day: Day, most: int) -> tuple[Part, ...]:
    """The day's pieces with `at` counted from the top, as SVG does."""
    names = ("approved", "rejected", "expired", "other")
    parts = stacked([(name, getattr(day, name)) for name in names], max(most, 1))
    return tuple(Part(part.name, part.count, round(100 - part.at - part.size, 2), part.size) for part in parts)


def _advice(habit: Habit, user: User, now: datetime) -> Advice:
    """The widest rule that nobody's rejection speaks against, made from the latest approval."""
    gate = Decision.objects.select_related("gate").get(pk=habit.latest_decision).gate
    try:
        proposals = [each for each in rules.proposals(gate, now=now) if each.reach is not rules.Reach.ANY]
    except DecryptionFailed:
        proposals = []
    good = [each for each in proposals if not each.refusal and not each.rejected]
    if not good:
        refusal = next((each.refusal for each in proposals if each.refusal), "")
        return Advice(habit.tool, habit.approvals, "", 0, "", refusal or "No rule can be made from such calls.")
    best = max(good, key=lambda each: each.passed)
    address = f"{resolve_url('remember', gate.pk)}?reach={best.reach.value}"
    may = rules.can_remember(user, gate)
    return Advice(habit.tool, habit.approvals, best.text, best.passed, address if may else "", "")
