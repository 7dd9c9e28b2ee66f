"""Every combination of tenant list x site filter x agent filter x permissions x callback result, against a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from approvals.effects import Reversibility, ToolPermission
from approvals.policy import decide, offered
from approvals.types import (
    Allow,
    AllowanceFacts,
    AllowanceMode,
    ApprovalGatePolicy,
    ApproverRequirement,
    ArgumentConstraint,
    CallFacts,
    Deny,
    Level,
    NeedsApproval,
    PolicyFacts,
    PolicyHooks,
    RuleFacts,
    ToolFilter,
    Verdict,
)

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TOOL = "fs_read"
UNDER_REPORTS = (ArgumentConstraint(pointer="/path", kind="path_under", value="reports"),)


def call(**changes: Any) -> CallFacts:
    facts = CallFacts(
        tool=TOOL,
        arguments={"path": "reports/a.md"},
        permissions=frozenset(),
        reversibility=Reversibility.READ_ONLY,
        agent_id="7",
    )
    return replace(facts, **changes)


def policy(mode: AllowanceMode | None = AllowanceMode.ALLOW, **changes: Any) -> PolicyFacts:
    allowance = changes.pop("allowance", {})
    entries = {} if mode is None else {TOOL: AllowanceFacts(TOOL, mode, **allowance)}
    site = changes.pop("site", None)
    gate = changes.pop("gate", ApprovalGatePolicy())
    return PolicyFacts(entries, PolicyHooks(tool_filter=site, approval_gate=gate), **changes)


# The tenant's entry, and what it does to a call that both filters let through.
TENANT = {
    "no entry": None,
    "deny": AllowanceMode.DENY,
    "ask": AllowanceMode.ASK,
    "by permission": AllowanceMode.BY_PERMISSION,
    "allow": AllowanceMode.ALLOW,
}
# A filter, and whether it lets the tool through.
FILTERS: dict[str, tuple[ToolFilter | None, bool]] = {
    "none": (None, True),
    "unrestricted": (ToolFilter(), True),
    "nothing at all": (ToolFilter(allowed_tools=()), False),
    "named": (ToolFilter(allowed_tools=(TOOL,)), True),
    "named by glob": (ToolFilter(allowed_tools=("x", "fs_*")), True),
    "others named": (ToolFilter(allowed_tools=("http_*",)), False),
    "named in another case": (ToolFilter(allowed_tools=("FS_READ",)), False),
    "denied": (ToolFilter(denied_tools=(TOOL,)), False),
    "denied by glob, though named": (ToolFilter(allowed_tools=(TOOL,), denied_tools=("fs_*",)), False),
    "another denied": (ToolFilter(denied_tools=("fs_write",)), True),
}
SITE = FILTERS | {"locked": (ToolFilter(locked_denied_tools=("fs_*",)), False)}
PERMISSIONS = {
    "none": frozenset(),
    "ungated": frozenset({ToolPermission.DATABASE}),
    "gated": frozenset({ToolPermission.NETWORK, ToolPermission.DATABASE}),
}
CALLBACK = ("not set", None, "approve", "deny", "ask")


def expected(  # noqa: C901, PLR0911 - the design's rules in the design's order
    tenant: str, site: str, agent: str, permissions: str, callback: str | None
) -> tuple[type[Verdict], Level]:
    """The house's rules once more, in the words of the design and not in those of the code."""
    if tenant in {"no entry", "deny"}:
        return Deny, Level.TENANT
    if site == "locked":
        return Deny, Level.SITE
    if agent != "none":
        if not FILTERS[agent][1]:
            return Deny, Level.AGENT
    elif not SITE[site][1]:
        return Deny, Level.SITE
    if callback == "deny":
        return Deny, Level.GATE
    if tenant == "ask":
        return NeedsApproval, Level.TENANT
    unanswered = callback is None and permissions == "gated"
    if callback == "ask" or unanswered:
        return NeedsApproval, Level.GATE
    if callback == "approve":
        return Allow, Level.GATE
    if tenant == "by permission" and permissions == "gated":
        return NeedsApproval, Level.GATE
    return Allow, Level.TENANT if tenant == "allow" else Level.GATE


@pytest.mark.parametrize("site", SITE)
@pytest.mark.parametrize("tenant", TENANT)
def test_every_combination(tenant: str, site: str) -> None:
    for agent, permissions, callback in product(FILTERS, PERMISSIONS, CALLBACK):
        gate = ApprovalGatePolicy(approval_callback=None if callback == "not set" else "site.callback")
        facts = policy(TENANT[tenant], site=SITE[site][0], agent_filter=FILTERS[agent][0], gate=gate)
        answer: Any = None if callback == "not set" else callback
        verdict = decide(call(permissions=PERMISSIONS[permissions], callback_answer=answer), facts, NOW)
        found = (type(verdict), verdict.level)
        assert found == expected(tenant, site, agent, permissions, callback), (agent, permissions, callback, verdict)


def test_a_denied_tool_says_so_at_every_level_and_is_not_offered() -> None:
    denying = {
        Level.TENANT: policy(None),
        Level.SITE: policy(site=ToolFilter(denied_tools=("fs_*",))),
        Level.AGENT: policy(agent_filter=ToolFilter(allowed_tools=())),
    }
    for level, facts in denying.items():
        verdict = decide(call(), facts, NOW)
        assert isinstance(verdict, Deny)
        assert verdict.level is level
        assert "not allowed" in verdict.reason
        assert TOOL in verdict.reason
        assert offered([TOOL], facts) == ()
    assert offered([TOOL, "unknown"], policy()) == (TOOL,)


def test_the_ceiling_is_named_plainly() -> None:
    verdict = decide(call(tool="http_request"), policy(), NOW)
    assert verdict.reason == "`http_request` is not allowed: the tenant's allow-list does not name it"


def test_a_callback_that_denies_a_network_tool_says_that_approval_was_refused() -> None:
    facts = policy(gate=ApprovalGatePolicy(approval_callback="site.callback"))
    verdict = decide(call(permissions=frozenset({ToolPermission.NETWORK}), callback_answer="deny"), facts, NOW)
    assert isinstance(verdict, Deny)
    assert "approval was refused" in verdict.reason


def test_a_locked_entry_holds_below_an_agents_own_filter() -> None:
    site = ToolFilter(locked_denied_tools=("fs_*",))
    verdict = decide(call(), policy(site=site, agent_filter=ToolFilter(allowed_tools=(TOOL,))), NOW)
    assert isinstance(verdict, Deny)
    assert (verdict.level, verdict.rule) == (Level.SITE, "locked_denied_tools: fs_*")


@pytest.mark.parametrize("mode", [AllowanceMode.ALLOW, AllowanceMode.BY_PERMISSION, AllowanceMode.ASK])
@pytest.mark.parametrize("answer", [None, "approve", "ask"])
def test_what_cannot_be_undone_always_asks(mode: AllowanceMode, answer: Any) -> None:
    verdict = decide(call(reversibility=Reversibility.IRREVERSIBLE, callback_answer=answer), policy(mode), NOW)
    assert isinstance(verdict, NeedsApproval)
    assert verdict.rule == "irreversible"


def test_the_tenants_own_class_of_a_tool_counts() -> None:
    stricter = policy(allowance={"reversibility": Reversibility.IRREVERSIBLE})
    assert isinstance(decide(call(), stricter, NOW), NeedsApproval)
    milder = policy(allowance={"reversibility": Reversibility.REVERSIBLE})
    assert isinstance(decide(call(reversibility=Reversibility.IRREVERSIBLE), milder, NOW), Allow)


@pytest.mark.parametrize(
    ("mode", "outside"),
    [(AllowanceMode.ALLOW, NeedsApproval), (AllowanceMode.BY_PERMISSION, Deny), (AllowanceMode.ASK, Deny)],
)
def test_outside_the_constraints_allow_asks_and_the_others_deny(mode: AllowanceMode, outside: type[Verdict]) -> None:
    facts = policy(mode, allowance={"constraints": UNDER_REPORTS})
    verdict = decide(call(arguments={"path": "secrets/key"}), facts, NOW)
    assert isinstance(verdict, outside)
    assert "/path" in verdict.rule
    assert "secrets" not in verdict.reason
    assert type(decide(call(), facts, NOW)) is not outside or mode is AllowanceMode.ASK
    if outside is Deny:
        assert "not allowed" in verdict.reason


@pytest.mark.parametrize("answer", [None, "approve"])
def test_nothing_but_a_person_lets_a_call_pass_outside_an_allow(answer: Any) -> None:
    facts = policy(allowance={"constraints": UNDER_REPORTS}, gate=ApprovalGatePolicy(approval_callback="site.c"))
    outside = call(arguments={"path": "x"}, callback_answer=answer, permissions=frozenset({ToolPermission.NETWORK}))
    assert isinstance(decide(outside, facts, NOW), NeedsApproval)


def test_a_gate_knows_who_must_approve_and_until_when() -> None:
    approvers = ApproverRequirement(roles=("admin",), count=2, four_eyes=True)
    allowance = {"approvers": approvers, "decide_by_seconds": 60, "execute_by_seconds": 30}
    verdict = decide(
        call(permissions=frozenset({ToolPermission.NETWORK, ToolPermission.DATABASE})),
        policy(AllowanceMode.BY_PERMISSION, allowance=allowance),
        NOW,
    )
    assert isinstance(verdict, NeedsApproval)
    assert (verdict.approvers, verdict.decide_by_seconds, verdict.execute_by_seconds) == (approvers, 60, 30)
    assert verdict.permissions == (ToolPermission.NETWORK,)
    assert verdict.reason == "`fs_read` needs approval: it uses network"


def test_a_locked_entry_in_an_agents_filter_is_a_deny_like_any_other() -> None:
    verdict = decide(call(), policy(agent_filter=ToolFilter(locked_denied_tools=("fs_*",))), NOW)
    assert isinstance(verdict, Deny)
    assert verdict.level is Level.AGENT


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, True),
        ({"expires_at": NOW}, False),
        ({"made_at": NOW}, True),
        ({"made_at": NOW + timedelta(seconds=1)}, False),
        ({"uses_left": 0}, False),
        ({"agent_id": "8"}, False),
        ({"agent_id": None}, True),
        ({"tool": "fs_write"}, False),
        ({"constraints": (ArgumentConstraint(pointer="/path", kind="path_under", value="reports/a.md"),)}, True),
        ({"constraints": (ArgumentConstraint(pointer="/path", kind="path_under", value="report"),)}, False),
        ({"constraints": (ArgumentConstraint(pointer="/path", kind="exact", value="reports/a.md"),)}, True),
        ({"constraints": (ArgumentConstraint(pointer="/path", kind="exact", value="reports/b.md"),)}, False),
        ({"constraints": (ArgumentConstraint(pointer="/nope", kind="exact", value=None),)}, False),
        ({"constraints": UNDER_REPORTS * 2}, True),
    ],
)
def test_a_remembered_rule_passes_what_it_covers_while_it_lasts(changes: dict[str, Any], passes: bool) -> None:  # noqa: FBT001 - a table's column
    rule = RuleFacts(
        id="r1", tool=TOOL, agent_id="7", constraints=UNDER_REPORTS, expires_at=NOW + timedelta(1), uses_left=1
    )
    verdict = decide(call(), policy(AllowanceMode.ASK, rules=(replace(rule, **changes),)), NOW)
    assert isinstance(verdict, Allow) is passes
    if isinstance(verdict, Allow):
        assert (verdict.level, verdict.rule_id) == (Level.RULE, "r1")


def test_a_remembered_host_is_looked_up_in_its_canonical_form() -> None:
    wanted = (ArgumentConstraint(pointer="/url", kind="host_in", value=["EXAMPLE.com"]),)
    rule = RuleFacts("r1", TOOL, None, wanted, NOW + timedelta(1), 1)
    facts = policy(AllowanceMode.ASK, rules=(rule,))
    for url, passes in (
        ("https://example.com./x", True),
        ("https://example.com:8443/", False),
        ("https://b.test/", False),
    ):
        assert isinstance(decide(call(arguments={"url": url}), facts, NOW), Allow) is passes
