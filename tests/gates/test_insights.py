"""Figures about approvals: right to the second, of one tenant, in few queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from approvals.insights import HABIT, Times, insights, times_of
from approvals.models import ApprovalGate, ToolAllowance
from tests.fixtures.gates import House


def test_percentiles_are_by_nearest_rank() -> None:
    assert times_of([]) is None
    assert times_of([7.0]) == Times(1, 7.0, 7.0)
    assert times_of(float(n) for n in range(100, 0, -1)) == Times(100, 50.0, 95.0)


def test_outcomes_and_times_by_tool_and_reviewer(house: House) -> None:
    for seconds in (10, 20, 60):
        house.decide(house.open(), house.cast.rita, after=seconds)
    rejected, undone, _expired = house.open(), house.open(), house.open()
    house.decide(rejected, house.cast.rolf, rejected.ballot("reject"), after=5)
    house.decide(undone, house.cast.rolf, after=5)
    house.undo(undone, house.cast.rolf, after=6)
    house.sweep(after=3600)
    found = insights(house.cast.acme.pk, house.later(3600))
    (tool,) = found.tools
    assert (tool.tool, tool.opened, tool.approved, tool.rejected, tool.expired) == ("write_file", 6, 3, 1, 2)
    assert (tool.rejection_rate, tool.expiry_rate) == (0.25, 2 / 6)
    assert tool.times == Times(4, 10.0, 60.0)
    assert [(who.name, who.approved, who.rejected, who.times) for who in found.reviewers] == [
        ("Rita Example", 3, 0, Times(3, 20.0, 60.0)),
        ("Rolf Example", 0, 1, Times(1, 5.0, 5.0)),
    ]
    assert found.habits == ()


def test_a_tool_that_is_always_approved_is_named_with_its_latest_decision(house: House) -> None:
    for seconds in range(HABIT):
        latest = house.decide(house.open(), house.cast.rita, after=seconds)
        assert len(insights(house.cast.acme.pk, house.now).habits) == (seconds == HABIT - 1)
    (habit,) = insights(house.cast.acme.pk, house.now).habits
    assert (habit.tool, habit.approvals, habit.latest_decision) == ("write_file", HABIT, latest.id)
    rejected = house.open()
    house.decide(rejected, house.cast.rita, rejected.ballot("reject"))
    assert insights(house.cast.acme.pk, house.now).habits == ()


def test_listed_tools_that_nobody_calls_are_named(house: House) -> None:
    for tool, mode in (("write_file", "ask"), ("read_file", "allow"), ("delete_file", "deny")):
        ToolAllowance.objects.create(tenant=house.cast.acme, tool=tool, mode=mode)
    house.open()
    assert insights(house.cast.acme.pk, house.now).unused == ("read_file",)


def test_only_this_tenants_last_thirty_days_count(house: House) -> None:
    old, foreign = house.open(), house.open()
    house.decide(old, house.cast.rita)
    house.decide(foreign, house.cast.rita)
    ApprovalGate.objects.filter(pk=foreign.gate.pk).update(tenant=house.cast.globex)
    assert insights(house.cast.acme.pk, house.now).tools[0].opened == 1
    month_later = insights(house.cast.acme.pk, house.later(30 * 86_400 + 1))
    assert (month_later.tools, month_later.reviewers) == ((), ())


def test_the_number_of_queries_does_not_grow(house: House, django_assert_num_queries: Callable[[int], Any]) -> None:
    for _ in range(5):
        house.decide(house.open(), house.cast.rita)
    with django_assert_num_queries(4):
        insights(house.cast.acme.pk, house.now)
