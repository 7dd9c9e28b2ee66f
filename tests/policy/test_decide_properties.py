"""What holds of every policy: a deny never allows more, order never matters, the same facts give the same verdict."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

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
    NeedsApproval,
    PolicyFacts,
    PolicyHooks,
    RuleFacts,
    ToolFilter,
    Verdict,
)

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
STRICTNESS: dict[type[Verdict], int] = {Allow: 0, NeedsApproval: 1, Deny: 2}
TOOLS = ("fs_read", "fs_write", "http_request")

names = st.sampled_from([*TOOLS, "fs_*", "*", "http_?equest", "other"])
patterns = st.lists(names, max_size=3).map(tuple)
filters = st.builds(
    ToolFilter,
    allowed_tools=st.none() | patterns,
    denied_tools=patterns,
    locked_denied_tools=patterns,
)
paths = st.sampled_from(["a", "a/b", "a/b/c.txt", "b", "../a", "/a"])
constraints = st.one_of(
    st.builds(lambda v: ArgumentConstraint(pointer="/path", kind="exact", value=v), paths),
    st.builds(lambda v: ArgumentConstraint(pointer="/path", kind="glob", value=v), st.sampled_from(["a/*", "**", "?"])),
    st.builds(lambda v: ArgumentConstraint(pointer="/path", kind="path_under", value=v), st.sampled_from(["a", "a/b"])),
    st.builds(lambda low: ArgumentConstraint(pointer="/n", kind="range", value={"min": low}), st.integers(-2, 2)),
)
several = st.lists(constraints, max_size=2).map(tuple)
allowances = st.builds(
    AllowanceFacts,
    tool=st.sampled_from(TOOLS),
    mode=st.sampled_from(AllowanceMode),
    constraints=several,
    reversibility=st.none() | st.sampled_from(Reversibility),
    approvers=st.builds(ApproverRequirement, count=st.integers(1, 2)),
)
rules = st.lists(
    st.builds(
        RuleFacts,
        id=st.uuids().map(str),
        tool=st.sampled_from(TOOLS),
        agent_id=st.none() | st.sampled_from(["1", "2"]),
        constraints=several,
        expires_at=st.sampled_from([NOW - timedelta(1), NOW, NOW + timedelta(1)]),
        uses_left=st.integers(0, 2),
        made_at=st.none() | st.sampled_from([NOW - timedelta(2), NOW + timedelta(hours=1)]),
    ),
    max_size=5,
).map(tuple)
policies = st.builds(
    PolicyFacts,
    allowances=st.lists(allowances, max_size=3).map(lambda rows: {row.tool: row for row in rows}),
    hooks=st.builds(
        PolicyHooks,
        tool_filter=st.none() | filters,
        approval_gate=st.none()
        | st.builds(
            ApprovalGatePolicy,
            require_approval_for_permissions=st.lists(st.sampled_from(ToolPermission), max_size=2).map(tuple),
            approval_callback=st.none() | st.just("site.callback"),
        ),
    ),
    agent_filter=st.none() | filters,
    rules=rules,
)
calls = st.builds(
    CallFacts,
    tool=st.sampled_from(TOOLS),
    arguments=st.fixed_dictionaries({"path": paths, "n": st.integers(-3, 3)}),
    permissions=st.frozensets(st.sampled_from(ToolPermission), max_size=2),
    reversibility=st.sampled_from(Reversibility),
    agent_id=st.sampled_from(["1", "2"]),
    callback_answer=st.sampled_from([None, "approve", "deny", "ask"]),
)


def strictness(call: CallFacts, policy: PolicyFacts) -> int:
    return STRICTNESS[type(decide(call, policy, NOW))]


def with_deny(found: ToolFilter, name: str) -> ToolFilter:
    return found.model_copy(update={"denied_tools": (*found.denied_tools, name)})


@given(calls, policies, names, st.sampled_from(["tenant", "site", "locked", "agent"]))
def test_adding_a_deny_never_allows_more(call: CallFacts, policy: PolicyFacts, name: str, where: str) -> None:
    site = policy.hooks.tool_filter or ToolFilter()
    changed: dict[str, Any]
    if where == "tenant":
        entry = replace(policy.allowances.get(name, AllowanceFacts(name, AllowanceMode.DENY)), mode=AllowanceMode.DENY)
        changed = {"allowances": {**policy.allowances, name: entry}}
    elif where == "agent":
        # An agent without a filter has the site's: a deny of its own begins as a copy of that one.
        changed = {"agent_filter": with_deny(policy.agent_filter or site, name)}
    elif where == "site":
        changed = {"hooks": policy.hooks.model_copy(update={"tool_filter": with_deny(site, name)})}
    else:
        locked = site.model_copy(update={"locked_denied_tools": (*site.locked_denied_tools, name)})
        changed = {"hooks": policy.hooks.model_copy(update={"tool_filter": locked})}
    assert strictness(call, replace(policy, **changed)) >= strictness(call, policy)


@given(calls, policies)
def test_a_callbacks_deny_never_allows_more(call: CallFacts, policy: PolicyFacts) -> None:
    denied = strictness(replace(call, callback_answer="deny"), policy)
    assert denied == STRICTNESS[Deny]


@given(calls, policies, rules)
def test_rules_never_turn_a_deny_or_an_irreversible_call_into_more(
    call: CallFacts, policy: PolicyFacts, more: tuple[RuleFacts, ...]
) -> None:
    without = decide(call, replace(policy, rules=()), NOW)
    verdict = decide(call, replace(policy, rules=more), NOW)
    if not isinstance(without, NeedsApproval) or without.rule == "irreversible":
        assert verdict == without
    elif isinstance(verdict, Allow):
        assert verdict.rule_id in {rule.id for rule in more if rule.uses_left and rule.expires_at > NOW}


@given(calls, policies)
def test_looking_rules_up_finds_what_looking_at_each_would(call: CallFacts, policy: PolicyFacts) -> None:
    one_by_one = [
        decide(call, replace(policy, rules=(rule,)), NOW) for rule in sorted(policy.rules, key=lambda rule: rule.id)
    ]
    passing = [verdict for verdict in one_by_one if isinstance(verdict, Allow)]
    if policy.rules:
        assert decide(call, policy, NOW) == (passing[0] if passing else one_by_one[0])


@given(calls, policies, st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_any_order(
    call: CallFacts, policy: PolicyFacts, shuffler: random.Random
) -> None:
    def shuffled(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(shuffler.sample(items, len(items)))

    def mixed(found: ToolFilter | None) -> ToolFilter | None:
        if found is None:
            return None
        return ToolFilter(
            allowed_tools=None if found.allowed_tools is None else shuffled(found.allowed_tools),
            denied_tools=shuffled(found.denied_tools),
            locked_denied_tools=shuffled(found.locked_denied_tools),
        )

    entries = list(policy.allowances.items())
    other = PolicyFacts(
        allowances=dict(shuffler.sample(entries, len(entries))),
        hooks=policy.hooks.model_copy(update={"tool_filter": mixed(policy.hooks.tool_filter)}),
        agent_filter=mixed(policy.agent_filter),
        rules=shuffled(policy.rules),
    )
    assert decide(call, other, NOW) == decide(call, policy, NOW)


@given(calls, policies)
def test_the_same_facts_give_the_same_verdict(call: CallFacts, policy: PolicyFacts) -> None:
    first = decide(call, policy, NOW)
    assert decide(copy.deepcopy(call), copy.deepcopy(policy), NOW) == first
    assert decide(call, policy, NOW) == first


@given(policies)
def test_a_tool_is_offered_exactly_when_some_call_of_it_may_run(policy: PolicyFacts) -> None:
    shown = offered(TOOLS, policy)
    for tool in TOOLS:
        entry = policy.allowances.get(tool)
        bare = replace(policy, allowances={tool: replace(entry, constraints=())} if entry else {})
        call = CallFacts(tool, {}, frozenset(), Reversibility.READ_ONLY, "1")
        assert (tool in shown) == (not isinstance(decide(call, bare, NOW), Deny))
