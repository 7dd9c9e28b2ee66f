"""Calls of one reply belong together: what asks makes the others ask, for as much, unless they only read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from approvals import chains
from approvals.chains import Link
from approvals.types import (
    Allow,
    AllowanceFacts,
    AllowanceMode,
    ApproverRequirement,
    Chain,
    Deny,
    Level,
    NeedsApproval,
    Risk,
)

ALLOW = Allow(Level.TENANT, "allow-list: write_file", "fine")
DENY = Deny(Level.TENANT, "allow-list", "no")
ONE = ApproverRequirement()
TWO_ADMINS = ApproverRequirement(roles=("admin",), count=2)
WRITE = Link("write_file", Risk.MEDIUM, only_reads=False, verdict=ALLOW)
READ = Link("read_file", Risk.LOW, only_reads=True, verdict=ALLOW)


def asks(approvers: ApproverRequirement = ONE) -> NeedsApproval:
    return NeedsApproval(Level.GATE, "gated", "asked", approvers=approvers, decide_by_seconds=60)


def sends(approvers: ApproverRequirement = ONE) -> Link:
    return Link("http_request", Risk.HIGH, only_reads=False, verdict=asks(approvers))


def test_an_allowed_call_asks_beside_one_that_asks_at_its_risk_and_by_its_approvers() -> None:
    own = AllowanceFacts("write_file", AllowanceMode.ALLOW, decide_by_seconds=7, execute_by_seconds=8)
    found, sent = chains.together([replace(WRITE, allowance=own), sends(TWO_ADMINS)])
    assert isinstance(found, NeedsApproval)
    assert found.chain == Chain(("http_request",), Risk.HIGH, TWO_ADMINS)
    assert (found.approvers, found.decide_by_seconds, found.execute_by_seconds) == (TWO_ADMINS, 7, 8)
    assert found.rule == "same reply: http_request"
    assert "because `http_request` in the same reply asks" in found.reason
    assert sent == asks(TWO_ADMINS)


def test_what_only_reads_is_denied_or_stands_alone_stays_as_it_is() -> None:
    assert chains.together([READ, sends(), replace(WRITE, verdict=DENY)]) == [ALLOW, asks(), DENY]
    assert chains.together([WRITE, READ, WRITE]) == [ALLOW] * 3
    assert chains.together([]) == []


def test_a_call_that_asks_for_less_is_raised_and_never_asks_for_less_than_its_own() -> None:
    small = replace(WRITE, verdict=asks())
    raised, _ = chains.together([small, sends(TWO_ADMINS)])
    assert isinstance(raised, NeedsApproval)
    assert (raised.approvers, raised.rule) == (TWO_ADMINS, "gated")
    three_reviewers = ApproverRequirement(roles=("reviewer",), count=3)
    kept, _ = chains.together([replace(WRITE, verdict=asks(three_reviewers)), sends(TWO_ADMINS)])
    assert isinstance(kept, NeedsApproval)
    assert kept.approvers == three_reviewers
    assert kept.chain is not None
    assert kept.chain.risk is Risk.HIGH


@pytest.mark.parametrize(
    ("requirements", "strictest"),
    [
        ([ONE, TWO_ADMINS], TWO_ADMINS),
        ([ONE, ApproverRequirement(roles=("admin",))], ApproverRequirement(roles=("admin",))),
        ([replace(TWO_ADMINS, four_eyes=False), ONE], TWO_ADMINS),
        ([replace(ONE, escalation_roles=("admin",), escalate_after_seconds=9), ONE], ONE),
    ],
)
def test_the_strictest(requirements: list[ApproverRequirement], strictest: ApproverRequirement) -> None:
    assert chains.strictest(requirements) == strictest
    assert chains.strictest(requirements[::-1]) == strictest


@pytest.mark.parametrize(
    "approvers",
    [
        ONE,
        replace(TWO_ADMINS, four_eyes=False),
        ApproverRequirement(expression="2 reviewers or admin", escalation_roles=("admin",), escalate_after_seconds=30),
    ],
)
def test_a_gate_that_is_opened_again_asks_for_no_less_than_its_chain(approvers: ApproverRequirement) -> None:
    chain = Chain(("http_request",), Risk.HIGH, approvers)
    view: dict[str, Any] = {"why": {"chain": chains.as_shown(chain)}, "approvers": approvers.as_shown()}
    allowance = AllowanceFacts("write_file", AllowanceMode.ALLOW)
    again = chains.again(ALLOW, view, allowance, "changed")
    assert again.chain == chain
    assert (again.reason, again.rule) == ("changed", "same reply: http_request")
    assert again.approvers == chains.strictest([approvers, allowance.approvers])
    still = chains.again(asks(), view, allowance, "changed")
    assert still.chain == chain
    assert still.reason == "asked"


def test_without_a_chain_an_allowed_call_is_asked_again_by_the_approvers_before() -> None:
    view: dict[str, Any] = {"why": {}, "approvers": TWO_ADMINS.as_shown()}
    again = chains.again(ALLOW, view, AllowanceFacts("write_file", AllowanceMode.ALLOW), "changed")
    assert (again.approvers, again.chain, again.rule) == (TWO_ADMINS, None, ALLOW.rule)
    assert chains.again(asks(), view, AllowanceFacts("write_file", AllowanceMode.ASK), "changed") == asks()
