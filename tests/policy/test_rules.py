"""Approve and remember: what a rule covers, who makes it, how it ends, and that it never widens anything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from approvals import rules
from approvals.effects import Reversibility, ToolPermission
from approvals.errors import BadRule, OwnRun, RuleOver, RulePastRevoking
from approvals.models import ApprovalGate, Decision, TenantPolicy, ToolAllowance, ToolRule
from approvals.policy import decide
from approvals.policy_facts import policy_facts
from approvals.rules import Reach, RuleChoice, Scope, generalised
from approvals.types import Allow, AllowanceMode, CallFacts, Deny, NeedsApproval
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import User
from tests.fixtures.gates import House, Opened
from traces.kinds import LedgerKind
from traces.models import LedgerEntry

EXACT = RuleChoice(Reach.EXACT)
SIMILAR = RuleChoice(Reach.SIMILAR)
ANY = RuleChoice(Reach.ANY)


def approved(house: House, path: str = "reports/a.md") -> tuple[Opened, Decision]:
    opened = house.open({"path": path, "text": "hello"})
    return opened, house.decide(opened, house.cast.rita)


def make(house: House, decision: Decision, choice: RuleChoice = SIMILAR, user: User | None = None) -> ToolRule:
    with transaction.atomic():
        return rules.make_rule(decision.gate_id, user or house.cast.rita, choice, now=house.later(2))


def verdict(house: House, path: str = "reports/b.md", *, after: float = 3, **changes: Any) -> Any:
    call = CallFacts(
        tool="write_file",
        arguments={"path": path, "text": "other"},
        permissions=frozenset({ToolPermission.FILESYSTEM}),
        reversibility=Reversibility.REVERSIBLE,
        agent_id="7",
    )
    now = house.later(after)
    return decide(replace(call, **changes), policy_facts(house.cast.acme.pk, agent_filter=None, now=now), now)


def test_a_rule_lets_calls_like_the_approved_one_pass(house: House) -> None:
    _, decision = approved(house)
    assert isinstance(verdict(house), NeedsApproval)
    rule = make(house, decision)
    passed = verdict(house)
    assert isinstance(passed, Allow)
    assert passed.rule_id == str(rule.pk)
    assert isinstance(verdict(house, "secrets/b.md"), NeedsApproval)
    assert isinstance(verdict(house, "reports/../secrets/b.md"), NeedsApproval)
    assert isinstance(verdict(house, agent_id="8"), NeedsApproval)
    assert isinstance(verdict(house, after=25 * 3600), NeedsApproval), "a rule ends after 24 hours"


@pytest.mark.parametrize("choice", [EXACT, SIMILAR, ANY])
def test_what_only_its_name_makes_a_secret_is_masked_where_a_rule_is_told(house: House, choice: RuleChoice) -> None:
    secret = "some quiet horse"  # which no rule of redaction knows by its form
    opened = house.open({"path": "reports/a.md", "text": "hello", "password": secret})
    decision = house.decide(opened, house.cast.rita)
    rule = make(house, decision, choice)
    told = [rule.summary, *(each.text for each in rules.proposals(opened.fresh(), now=house.later(2)))]
    told += [str(entry.facts) for entry in LedgerEntry.objects.filter(kind=LedgerKind.RULE_CHANGE)]
    assert [text for text in told if secret in text] == []
    if choice is SIMILAR:
        assert "`/password` exactly" in rule.summary
        assert isinstance(verdict(house, arguments={"path": "reports/b.md", "text": "x", "password": secret}), Allow)
        assert isinstance(
            verdict(house, arguments={"path": "reports/b.md", "text": "x", "password": "y"}), NeedsApproval
        )


def test_the_reach_and_the_scope_are_chosen(house: House) -> None:
    opened, decision = approved(house)
    make(house, decision, EXACT)
    assert isinstance(verdict(house), NeedsApproval)
    assert isinstance(verdict(house, arguments=opened.binding.arguments), Allow)
    extra = {**opened.binding.arguments, "mode": "append"}
    assert isinstance(verdict(house, arguments=extra), NeedsApproval)
    make(house, decision, RuleChoice(Reach.ANY, Scope.TENANT))
    assert isinstance(verdict(house, "anything", agent_id="8"), Allow)


def test_a_rule_never_widens_the_allow_list(house: House) -> None:
    _, decision = approved(house)
    make(house, decision, ANY)
    rows = ToolAllowance.objects.filter(tenant=house.cast.acme)
    for change in ({"mode": "deny"}, {"constraints": [{"pointer": "/path", "kind": "path_under", "value": "other"}]}):
        row = rows.get()
        rows.update(**change)
        assert isinstance(verdict(house), Deny)
        row.save()
    rows.update(mode="allow", constraints=[{"pointer": "/path", "kind": "path_under", "value": "other"}])
    assert isinstance(verdict(house), NeedsApproval)
    rows.update(mode="ask", constraints=[])
    assert isinstance(verdict(house), Allow), "always asking a person is what a rule stands in for"
    rows.update(approvals_needed=2)
    assert isinstance(verdict(house), NeedsApproval)
    rows.update(approvals_needed=1, reversibility="irreversible")
    assert isinstance(verdict(house), NeedsApproval)
    rows.delete()
    assert isinstance(verdict(house), Deny)


def test_what_cannot_be_undone_is_neither_proposed_nor_remembered(house: House) -> None:
    opened, decision = approved(house)
    ToolAllowance.objects.update(reversibility="irreversible")
    with pytest.raises(BadRule, match="can't be undone"):
        make(house, decision)
    ApprovalGate.objects.update(reversibility=Reversibility.IRREVERSIBLE)
    assert rules.proposals(opened.fresh(), now=house.later(2)) == ()


@pytest.mark.parametrize(
    "choice",
    [
        replace(SIMILAR, ttl=timedelta(0)),
        replace(SIMILAR, ttl=timedelta(days=31)),
        replace(SIMILAR, max_uses=0),
        replace(SIMILAR, max_uses=1001),
    ],
)
def test_no_rule_is_without_an_end(house: House, choice: RuleChoice) -> None:
    _, decision = approved(house)
    with pytest.raises(BadRule):
        make(house, decision, choice)
    assert not ToolRule.objects.exists()


def test_only_who_could_have_decided_makes_a_rule(house: House) -> None:
    opened, decision = approved(house)
    refused: list[tuple[User, type[Exception]]] = [
        (house.cast.alice, NotAllowed),
        (house.cast.audra, NotAllowed),
        (house.cast.ravi, NotVisible),
    ]
    for user, error in refused:
        with pytest.raises(error):
            make(house, decision, user=user)
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(requester=house.cast.rolf)
    with pytest.raises(OwnRun):
        make(house, decision, user=house.cast.rolf)
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(approver_roles=["admin"])
    with pytest.raises(NotAllowed):
        make(house, decision)
    assert not ToolRule.objects.exists()


def test_a_rule_is_made_from_an_approval_that_stands(house: House) -> None:
    rejected = house.open({"path": "reports/a.md", "text": "x"})
    with pytest.raises(BadRule, match="approval that stands"):
        make(house, house.decide(rejected, house.cast.rita, rejected.ballot("reject")))
    undone, decision = approved(house)
    house.undo(undone, house.cast.rita)
    with pytest.raises(BadRule, match="approval that stands"):
        make(house, decision)


def test_uses_are_counted_one_by_one_until_none_is_left(house: House) -> None:
    _, decision = approved(house)
    rule = make(house, decision, replace(SIMILAR, max_uses=2))
    for _ in range(2):
        assert isinstance(verdict(house), Allow)
        with transaction.atomic():
            rules.use(str(rule.pk), now=house.later(4))
    assert isinstance(verdict(house), NeedsApproval)
    with pytest.raises(RuleOver), transaction.atomic():
        rules.use(str(rule.pk), now=house.later(4))
    rule.refresh_from_db()
    assert (rule.uses, rule.last_used_at) == (2, house.later(4))


def test_a_rule_falls_with_the_approval_that_it_was_made_from(house: House) -> None:
    opened, decision = approved(house)
    rule = make(house, decision)
    assert isinstance(verdict(house), Allow)
    house.undo(opened, house.cast.rita, after=3)
    assert isinstance(verdict(house), NeedsApproval)
    with pytest.raises(RuleOver), transaction.atomic():
        rules.use(rule.pk, now=house.later(4))


def test_one_click_revokes(house: House) -> None:
    _, decision = approved(house)
    rule = make(house, decision)
    with pytest.raises(NotVisible), transaction.atomic():
        rules.revoke(rule.pk, house.cast.ravi, now=house.later(3))
    with pytest.raises(NotAllowed), transaction.atomic():
        rules.revoke(rule.pk, house.cast.alice, now=house.later(3))
    with transaction.atomic():
        rules.revoke(rule.pk, house.cast.rolf, now=house.later(3))
    assert isinstance(verdict(house), NeedsApproval)
    with pytest.raises(RuleOver), transaction.atomic():
        rules.use(rule.pk, now=house.later(4))
    with pytest.raises(RulePastRevoking), transaction.atomic():
        rules.revoke(rule.pk, house.cast.rolf, now=house.later(5))
    rule.refresh_from_db()
    assert (rule.revoked_by, rule.revoked_at) == (house.cast.rolf, house.later(3))


def test_a_rule_that_cannot_be_decrypted_allows_nothing_and_stops_nothing(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    _, decision = approved(house)
    rule = make(house, decision)
    assert isinstance(verdict(house), Allow)
    ToolRule.objects.update(constraints_sealed=b"sealed under a key that is lost")
    assert isinstance(verdict(house), NeedsApproval)
    assert f"rule {rule.pk} can't be decrypted" in caplog.text


def test_every_change_is_in_the_ledger_and_no_raw_value_is_stored(house: House) -> None:
    address = "mailto-target@example.org"
    _, decision = approved(house, f"{address}/a.md")
    rule = make(house, decision)
    with transaction.atomic():
        rules.revoke(rule.pk, house.cast.rita, now=house.later(3))
    entries = LedgerEntry.objects.filter(kind=LedgerKind.RULE_CHANGE).order_by("number")
    assert ['"act":"made"' in entry.facts for entry in entries] == [True, False]
    stored = [rule.summary, bytes(rule.constraints_sealed).decode(), *(entry.facts for entry in entries)]
    assert not any(address in text for text in stored)
    assert "write_file" in rule.summary


def test_each_proposal_is_tested_on_the_last_30_days(house: House) -> None:
    for path, kind in (
        ("reports/1.md", "approve"),
        ("reports/x/2.md", "reject"),
        ("secrets/3.md", "reject"),
        ("reports/4.md", "approve"),
    ):
        past = house.open({"path": path, "text": "hello"})
        house.decide(past, house.cast.rita, past.ballot(kind))
    old = house.open({"path": "reports/5.md", "text": "hello"})
    ApprovalGate.objects.filter(pk=old.gate.pk).update(opened_at=house.now - timedelta(days=31))
    elsewhere = house.open({"path": "reports/6.md", "text": "hello"})
    ApprovalGate.objects.filter(pk=elsewhere.gate.pk).update(agent_id="8")
    gate = house.open({"path": "reports/1.md", "text": "hello"}).gate
    exact, similar, anything = rules.proposals(gate, now=house.later(5))
    assert [(p.reach, p.passed, p.rejected) for p in (exact, similar, anything)] == [
        (Reach.EXACT, 1, 0),
        (Reach.SIMILAR, 3, 1),
        (Reach.ANY, 4, 2),
    ]
    assert [p.refusal for p in (exact, similar, anything)] == ["", "", ""]
    wide = rules.proposals(gate, now=house.later(5), scope=Scope.TENANT)
    assert [p.passed for p in wide] == [1, 4, 5]


def test_a_rule_that_would_never_speak_is_not_offered(house: House) -> None:
    opened, decision = approved(house)
    ToolAllowance.objects.update(mode=AllowanceMode.ALLOW, approvals_needed=1)
    TenantPolicy.objects.create(tenant=house.cast.acme, approval_callback="site.callback")
    ToolAllowance.objects.update(constraints=[{"pointer": "/path", "kind": "path_under", "value": "other"}])
    refusals = {p.refusal for p in rules.proposals(opened.fresh(), now=house.later(2))}
    assert len(refusals) == 1
    with pytest.raises(BadRule, match="can't be remembered"):
        make(house, decision)


@pytest.mark.parametrize(
    ("arguments", "similar"),
    [
        ({"path": "a/b/c.md", "text": "x"}, [("/path", "path_under", "a/b")]),
        ({"path": "/a/b.md", "text": "x"}, [("/path", "path_under", "/a")]),
        ({"path": "notes.txt"}, [("/path", "glob", "*.txt")]),
        ({"path": "Makefile"}, [("/path", "glob", "*")]),
        ({"path": "../x"}, [("/path", "exact", "../x")]),
        (
            {"url": "https://EXAMPLE.com/x?y", "method": "GET", "body": "z"},
            [("/method", "exact", "GET"), ("/url", "host_in", ["example.com"])],
        ),
        ({"url": "http://[::1]:8000/"}, [("/url", "host_in", ["[::1]:8000"])]),
        ({"url": "http://127.1/"}, [("/url", "exact", "http://127.1/")]),
        ({"expression": "1 + 1", "exact": True}, [("/exact", "exact", True), ("/expression", "exact", "1 + 1")]),
        ({"a/b~c": 1}, [("/a~1b~0c", "exact", 1)]),
    ],
)
def test_what_similar_means(arguments: dict[str, Any], similar: list[tuple[str, str, Any]]) -> None:
    found = generalised(Reach.SIMILAR, arguments, {})
    assert [(c.pointer, c.kind.value, c.value) for c in found] == similar


def test_long_values_are_kept_as_digests() -> None:
    exact = generalised(Reach.EXACT, {"text": "x" * 10_000, "path": "a"}, {})
    assert [c.kind.value for c in exact] == ["exact", "digest"]
    assert sum(len(str(c.value)) for c in exact) < 100
