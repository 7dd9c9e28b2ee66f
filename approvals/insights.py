"""How a tenant's approvals went lately: times to decision, outcomes by tool, and work that a rule could spare."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil
from uuid import UUID

from django.db.models import F

from approvals.models import ApprovalGate, Decision, DecisionKind, RecordedCall, ToolAllowance
from approvals.states import GateState
from approvals.types import AllowanceMode

WINDOW = timedelta(days=30)
# Fewer approvals than this say nothing about a habit.
HABIT = 10

_APPROVED = frozenset({GateState.APPROVED, GateState.SPENT, GateState.LAPSED})


@dataclass(frozen=True)
class Times:
    """Seconds from opening to decision: median and 95th percentile (nearest rank), and of how many."""

    count: int
    p50: float
    p95: float


@dataclass(frozen=True)
class ToolFigures:
    """What became of one tool's gates that were opened in the window. `times` is None where nobody decided any."""

    tool: str
    opened: int
    approved: int
    rejected: int
    expired: int
    edited: int
    times: Times | None

    @property
    def edit_rate(self) -> float:
        """Calls whose arguments a reviewer edited, among those that an agent asked for, 0 to 1."""
        asked = self.opened - self.edited
        return min(1.0, self.edited / asked) if asked > 0 else 0.0

    @property
    def rejection_rate(self) -> float:
        """Rejected among those that a person decided, 0 to 1."""
        return self.rejected / (self.approved + self.rejected) if self.approved + self.rejected else 0.0

    @property
    def expiry_rate(self) -> float:
        """Expired among those that were opened, 0 to 1."""
        return self.expired / self.opened if self.opened else 0.0


@dataclass(frozen=True)
class ReviewerFigures:
    """One reviewer's standing decisions in the window."""

    user_id: int
    name: str
    approved: int
    rejected: int
    times: Times


@dataclass(frozen=True)
class Day:
    """One day's gates (UTC) by how they ended; `other` are those that wait still or were closed otherwise."""

    date: date
    approved: int = 0
    rejected: int = 0
    expired: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        """All that were opened on this day."""
        return self.approved + self.rejected + self.expired + self.other


@dataclass(frozen=True)
class Habit:
    """A tool that was approved every time; a rule can be made from its latest decision (`approvals.rules`)."""

    tool: str
    approvals: int
    latest_decision: UUID


@dataclass(frozen=True)
class Insights:
    """One tenant's figures for `WINDOW` up to a moment. Lists are sorted by size, then by name."""

    tools: tuple[ToolFigures, ...]
    reviewers: tuple[ReviewerFigures, ...]
    habits: tuple[Habit, ...]
    unused: tuple[str, ...]
    days: tuple[Day, ...]
    times: Times | None


@dataclass(frozen=True)
class _Past:
    """What is asked of one gate that was opened in the window."""

    tool: str
    state: str
    opened_at: datetime
    decided_at: datetime | None
    edited: bool

    @property
    def outcome(self) -> str:
        """The name of the column of `Day` that counts it."""
        if self.state in _APPROVED:
            return "approved"
        return str(self.state) if self.state in {GateState.REJECTED, GateState.EXPIRED} else "other"

    @property
    def seconds(self) -> float | None:
        """From asking to deciding; None where nobody decided."""
        return None if self.decided_at is None else (self.decided_at - self.opened_at).total_seconds()


def insights(tenant_id: int, now: datetime) -> Insights:
    """Figures of one tenant. Four queries, whatever the number of tools and people."""
    since = now - WINDOW
    past = _past(tenant_id, since)
    tools = _tools(past)
    decided = Decision.objects.standing().filter(gate__tenant_id=tenant_id, gate__opened_at__gte=since)
    decisions = list(decided.select_related("decided_by").annotate(opened=F("gate__opened_at"), tool=F("gate__tool")))
    return Insights(
        tools=tools,
        reviewers=_reviewers(decisions),
        habits=_habits(tools, decisions),
        unused=_unused(tenant_id, since, {figures.tool for figures in tools}),
        days=_days(past, since, now),
        times=times_of(each.seconds for each in past if each.seconds is not None),
    )


def times_of(seconds: Iterable[float]) -> Times | None:
    """Median and 95th percentile by nearest rank; None of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return None
    return Times(len(ordered), _rank(ordered, 0.5), _rank(ordered, 0.95))


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def _past(tenant_id: int, since: datetime) -> list[_Past]:
    opened = ApprovalGate.objects.in_tenant(tenant_id).filter(opened_at__gte=since)
    columns = opened.values_list("tool", "state", "opened_at", "decided_at", "edited_by_id")
    return [
        _Past(tool, state, opened_at, decided_at, edited_by is not None)
        for tool, state, opened_at, decided_at, edited_by in columns.iterator()
    ]


def _tools(past: Sequence[_Past]) -> tuple[ToolFigures, ...]:
    by_tool: defaultdict[str, list[_Past]] = defaultdict(list)
    for each in past:
        by_tool[each.tool].append(each)
    found = [_figures(tool, own) for tool, own in by_tool.items()]
    return tuple(sorted(found, key=lambda figures: (-figures.opened, figures.tool)))


def _figures(tool: str, own: Sequence[_Past]) -> ToolFigures:
    outcomes = Counter(each.outcome for each in own)
    return ToolFigures(
        tool=tool,
        opened=len(own),
        approved=outcomes["approved"],
        rejected=outcomes["rejected"],
        expired=outcomes["expired"],
        edited=sum(each.edited for each in own),
        times=times_of(each.seconds for each in own if each.seconds is not None),
    )


def _days(past: Sequence[_Past], since: datetime, now: datetime) -> tuple[Day, ...]:
    """Every day of the window, those on which nothing was asked too."""
    counts = Counter((each.opened_at.astimezone(UTC).date(), each.outcome) for each in past)
    first = since.astimezone(UTC).date()
    dates = [first + timedelta(days=number) for number in range((now.astimezone(UTC).date() - first).days + 1)]
    names = ("approved", "rejected", "expired", "other")
    return tuple(Day(day, **{name: counts[day, name] for name in names}) for day in dates)


def _reviewers(decisions: Sequence[Decision]) -> tuple[ReviewerFigures, ...]:
    by_person: defaultdict[int, list[Decision]] = defaultdict(list)
    for decision in decisions:
        by_person[decision.decided_by_id].append(decision)
    found = []
    for person, own in by_person.items():
        times = times_of((decision.decided_at - _opened(decision)).total_seconds() for decision in own)
        if times is not None:
            approved = sum(decision.kind == DecisionKind.APPROVE for decision in own)
            name = own[0].decided_by.display_name
            rejected = sum(decision.kind == DecisionKind.REJECT for decision in own)
            found.append(ReviewerFigures(person, name, approved, rejected, times))
    return tuple(sorted(found, key=lambda figures: (-figures.times.count, figures.name)))


def _opened(decision: Decision) -> datetime:
    opened: datetime = decision.opened  # type: ignore[attr-defined] # annotated by `insights`
    return opened


def _habits(tools: Sequence[ToolFigures], decisions: Sequence[Decision]) -> tuple[Habit, ...]:
    latest: dict[str, Decision] = {}
    for decision in decisions:
        tool: str = decision.tool  # type: ignore[attr-defined] # annotated by `insights`
        if tool not in latest or decision.decided_at > latest[tool].decided_at:
            latest[tool] = decision
    return tuple(
        Habit(figures.tool, figures.approved, latest[figures.tool].id)
        for figures in tools
        if figures.approved >= HABIT and not figures.rejected and figures.tool in latest
    )


def _unused(tenant_id: int, since: datetime, asked: set[str]) -> tuple[str, ...]:
    """Tools that the allow-list lets agents call and that none has called."""
    listed = ToolAllowance.objects.filter(tenant_id=tenant_id).exclude(mode=AllowanceMode.DENY)
    called = RecordedCall.objects.filter(tenant_id=tenant_id, at__gte=since).values_list("tool", flat=True).distinct()
    return tuple(sorted(set(listed.values_list("tool", flat=True)) - asked - set(called)))
