"""Who has to approve, as an expression over roles; and a second group that is called when half of the time is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from approvals.approvers import in_words, is_met, of_roles, parsed
from approvals.errors import BadExpression
from approvals.models import ApprovalGate, Decision
from approvals.pages import approvers
from approvals.signing import decision_facts, sign_decision
from approvals.types import ApproverRequirement
from approvals.verification import verify_gates
from routekit_site.tenancy.errors import NotAllowed
from tests.fixtures.gates import House
from traces.models import TraceEvent

KNOWN = ("admin", "reviewer")
BOTH = ApproverRequirement(roles=("admin", "reviewer"), count=2, expression="reviewer and admin")
EITHER = ApproverRequirement(roles=("admin", "reviewer"), count=1, expression="2 reviewers or admin")
ESCALATED = ApproverRequirement(roles=("reviewer",), escalation_roles=("admin",), escalate_after_seconds=1800)


@pytest.mark.parametrize(
    ("text", "enough", "too_little"),
    [
        ("admin", ["admin"], ["reviewer", "reviewer"]),
        ("2 reviewers", ["reviewer", "reviewer"], ["reviewer", "admin"]),
        ("reviewer and admin", ["admin", "reviewer"], ["reviewer", "reviewer"]),
        ("2 reviewers or admin", ["admin"], ["reviewer"]),
        ("REVIEWER  and admin or 3 admins", ["admin", "admin", "admin"], ["admin", "admin"]),
    ],
)
def test_an_expression_says_who_is_enough(text: str, enough: list[str], too_little: list[str]) -> None:
    assert is_met(parsed(text, KNOWN), enough)
    assert not is_met(parsed(text, KNOWN), too_little)
    assert not is_met(parsed(text, KNOWN), [])


@pytest.mark.parametrize(
    "text", ["", "and", "reviewer and", "auditor", "0 admins", "6 admins", "3 admins and 3 reviewers", "a" * 200, "x;y"]
)
def test_what_is_no_expression_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadExpression) as refused:
        parsed(text, KNOWN)
    assert str(refused.value)


def test_a_substitute_takes_one_missing_place_and_the_number_of_people_stays() -> None:
    two = of_roles(["reviewer"], 2)
    assert not is_met(two, ["reviewer", "admin"])
    assert is_met(two, ["reviewer", "admin"], ["admin"])
    assert not is_met(two, ["admin"], ["admin"])
    both = parsed("reviewer and admin", KNOWN)
    assert not is_met(both, ["admin"], ["admin"])
    assert is_met(both, ["admin", "admin"], ["admin"])
    assert in_words(parsed("2 reviewers or admin and reviewer", KNOWN)) == "2 reviewers, or an admin and a reviewer"


def test_two_people_of_one_role_are_not_one_of_each(house: House) -> None:
    opened = house.open(approvers=BOTH)
    house.decide(opened, house.cast.rita)
    house.decide(opened, house.cast.rolf)
    assert opened.fresh().state == "pending"
    house.decide(opened, house.cast.adam)
    assert opened.fresh().state == "approved"
    assert [finding.faults for finding in verify_gates(house.cast.acme.pk)] == [()]
    assert house.redeem(opened).gate_id == opened.gate.pk


def test_either_way_of_an_expression_approves(house: House) -> None:
    first, second = house.open(approvers=EITHER), house.open(approvers=EITHER)
    house.decide(first, house.cast.adam)
    house.decide(second, house.cast.rita)
    assert (first.fresh().state, second.fresh().state) == ("approved", "pending")
    assert approvers(second.fresh()) == "2 reviewers, or an admin, other than Alice Example"


def test_an_expression_changed_in_the_database_gives_no_permit(house: House) -> None:
    opened = house.open(approvers=BOTH)
    ApprovalGate.objects.update(approver_expression="reviewer", approvals_needed=1)
    with pytest.raises(Exception, match="not what was shown"):
        house.decide(opened, house.cast.rita)


def test_the_second_group_is_called_at_half_of_the_time_once(house: House) -> None:
    opened = house.open(approvers=ESCALATED)
    assert opened.gate.escalate_at == house.later(1800)
    with pytest.raises(NotAllowed):
        house.decide(opened, house.cast.adam, after=1799)
    assert house.escalate(after=1799) == 0
    assert house.escalate(after=1801) == 1
    assert house.escalate(after=1802) == 0
    gate = opened.fresh()
    assert (gate.state, gate.escalated_at) == ("pending", house.later(1801))
    event = TraceEvent.objects.get(trace_id=gate.run_id, kind="gate.escalated")
    assert event.payload["to"] == ["admin"]
    house.decide(opened, house.cast.adam, after=1900)
    assert opened.fresh().state == "approved"
    assert house.redeem(opened, after=1950).gate_id == gate.pk
    assert [finding.faults for finding in verify_gates(house.cast.acme.pk)] == [()]


def test_the_first_group_decides_after_the_second_was_called(house: House) -> None:
    opened = house.open(approvers=ESCALATED)
    house.escalate(after=1801)
    house.decide(opened, house.cast.rita, after=1900)
    assert opened.fresh().state == "approved"


def test_a_mark_set_by_hand_does_not_let_the_second_group_approve_early(house: House) -> None:
    opened = house.open(approvers=ESCALATED)
    ApprovalGate.objects.update(escalated_at=house.later(1))
    house.decide(opened, house.cast.adam, after=2)
    assert opened.fresh().state == "pending"
    ApprovalGate.objects.update(
        state="approved", decided_at=house.later(2), hold_until=house.later(3), execute_by=house.later(900)
    )
    answer = house.redeem(opened, after=30)
    assert {item["fact"] for item in answer.change["differences"]} == {"integrity"}


def test_a_second_group_that_was_added_later_gives_no_permit(house: House) -> None:
    opened = house.open(approvers=replace(ESCALATED, escalation_roles=(), escalate_after_seconds=0))
    house.decide(opened, house.cast.rita)
    decision = Decision.objects.get()
    decision.role, decision.decided_by = "admin", house.cast.adam
    decision.signature = sign_decision(decision_facts(opened.fresh(), decision))
    decision.save()
    ApprovalGate.objects.update(escalation_roles=["admin"], escalate_at=house.now)
    answer = house.redeem(opened)
    assert {item["fact"] for item in answer.change["differences"]} == {"integrity"}
