"""Whether a tool call may run: the one decision of the house. Pure: the same facts give the same verdict, always.

Note [Precedence]
    1. The tenant's allow-list is a ceiling: a tool without an entry, or with `deny`, is denied. Nothing overrides it.
       A tool that was contained after a violation counts as denied.
    2. Below it, the agent's filter replaces the site's; a site entry in `locked_denied_tools` can't be replaced.
    3. In a filter a deny beats an allow; `allowed_tools=None` restricts nothing, `[]` allows nothing.
    4. Arguments outside the constraints are denied, or, where the mode is `allow`, need a person.
    5. A callback's deny is a deny. What can't be undone needs a person, whatever else is said.
    6. Then the mode, the callback and the gated permissions say whether a person is needed, and a remembered rule may
       stand in for that person, within the allow-list only.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from approvals.constraints import MAX_POINTER_SHOWN, first_unmet, sentence
from approvals.effects import Reversibility, ToolPermission
from approvals.shelves import candidates
from approvals.types import (
    Allow,
    AllowanceFacts,
    AllowanceMode,
    ArgumentConstraint,
    CallFacts,
    Deny,
    Level,
    NeedsApproval,
    PolicyFacts,
    RuleFacts,
    ToolFilter,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

ALLOW_LIST = "allow-list"
CONTAINED = "containment"
CALLBACK = "approval_callback"
IRREVERSIBLE = "irreversible"
GATED_PERMISSIONS = "require_approval_for_permissions"


def decide(call: CallFacts, policy: PolicyFacts, now: datetime) -> Verdict:
    """The verdict on one call, with the level and the rule that spoke (see Note [Precedence])."""
    refusal = denial(call.tool, policy)
    if refusal is not None:
        return refusal
    allowance = policy.allowances[call.tool]
    outside = first_unmet(call.arguments, allowance.constraints)
    refusal = _refused_call(call, allowance, outside)
    if refusal is not None:
        return refusal
    gated = gated_permissions(call, policy)
    needed = _person_only(call, policy, gated, outside)
    if needed is not None:
        return needed
    wanted = _wanted_person(call, policy, gated)
    if wanted is not None:
        return _remembered(call, policy, now) or _ask(allowance, gated, *wanted)
    return _allowed(call, allowance)


def denial(tool: str, policy: PolicyFacts) -> Deny | None:
    """The refusal of a tool whatever its arguments, or None. A tool with a denial is not offered to the model."""
    allowance = policy.allowances.get(tool)
    if allowance is None:
        return Deny(Level.TENANT, ALLOW_LIST, f"`{tool}` is not allowed: the tenant's allow-list does not name it")
    if allowance.mode is AllowanceMode.DENY:
        return Deny(
            Level.TENANT, f"{ALLOW_LIST}: {tool}", f"`{tool}` is not allowed: the tenant's allow-list denies it"
        )
    if allowance.contained:
        reason = f"`{tool}` is not allowed: it was contained after a violation, until an admin lifts that"
        return Deny(Level.TENANT, CONTAINED, reason)
    site, agent = policy.hooks.tool_filter, policy.agent_filter
    if site is not None:
        locked = _speaks(site.locked_denied_tools, tool)
        if locked is not None:
            reason = f"`{tool}` is not allowed: the site's filter denies it for every agent ({locked})"
            return Deny(Level.SITE, f"locked_denied_tools: {locked}", reason)
    if agent is not None:
        return _filtered(tool, agent, Level.AGENT)
    return None if site is None else _filtered(tool, site, Level.SITE)


def offered(tools: Iterable[str], policy: PolicyFacts) -> tuple[str, ...]:
    """The tools that the model may be told of, in the order given."""
    return tuple(tool for tool in tools if denial(tool, policy) is None)


def reversibility_of(tool: str, declared: Reversibility, policy: PolicyFacts) -> Reversibility:
    """The class that counts: the tenant's word where its allow-list has one, else what the tool declares."""
    allowance = policy.allowances.get(tool)
    return declared if allowance is None or allowance.reversibility is None else allowance.reversibility


def gated_permissions(call: CallFacts, policy: PolicyFacts) -> tuple[ToolPermission, ...]:
    """The permissions of the call for which the gate policy wants approval, sorted by name."""
    gate = policy.hooks.approval_gate
    if gate is None or not call.permissions:
        return ()
    return tuple(sorted(call.permissions.intersection(gate.require_approval_for_permissions)))


def _speaks(patterns: tuple[str, ...], tool: str) -> str | None:
    """The pattern that matches; the first by alphabet, so that the order of a list never shows in a verdict."""
    return min((pattern for pattern in patterns if fnmatchcase(tool, pattern)), default=None)


def _filtered(tool: str, tool_filter: ToolFilter, level: Level) -> Deny | None:
    denied = _speaks((*tool_filter.denied_tools, *tool_filter.locked_denied_tools), tool)
    if denied is not None:
        reason = f"`{tool}` is not allowed: the {level}'s filter denies it ({denied})"
        return Deny(level, f"denied_tools: {denied}", reason)
    allowed = tool_filter.allowed_tools
    if allowed is None or _speaks(allowed, tool) is not None:
        return None
    return Deny(level, "allowed_tools", f"`{tool}` is not allowed: the {level}'s filter does not name it")


def _constraint_rule(tool: str, constraint: ArgumentConstraint) -> str:
    return f"{ALLOW_LIST}: {tool} {constraint.pointer[:MAX_POINTER_SHOWN] or '/'}"


def _ask(
    allowance: AllowanceFacts, gated: tuple[ToolPermission, ...], level: Level, rule: str, reason: str
) -> NeedsApproval:
    return NeedsApproval(
        level=level,
        rule=rule,
        reason=reason,
        permissions=gated,
        approvers=allowance.approvers,
        decide_by_seconds=allowance.decide_by_seconds,
        execute_by_seconds=allowance.execute_by_seconds,
    )


def _refused_call(call: CallFacts, allowance: AllowanceFacts, outside: ArgumentConstraint | None) -> Deny | None:
    if outside is not None and allowance.mode is not AllowanceMode.ALLOW:
        reason = f"`{call.tool}` is not allowed with these arguments: the tenant's allow-list wants {sentence(outside)}"
        return Deny(Level.TENANT, _constraint_rule(call.tool, outside), reason)
    if call.callback_answer == "deny":
        reason = f"`{call.tool}` was not run: approval was refused by the approval callback"
        return Deny(Level.GATE, CALLBACK, reason)
    return None


def _person_only(
    call: CallFacts, policy: PolicyFacts, gated: tuple[ToolPermission, ...], outside: ArgumentConstraint | None
) -> NeedsApproval | None:
    """The need for a person that neither a callback nor a remembered rule can meet."""
    allowance = policy.allowances[call.tool]
    if reversibility_of(call.tool, call.reversibility, policy) is Reversibility.IRREVERSIBLE:
        reason = f"`{call.tool}` needs approval: what it does can't be undone"
        return _ask(allowance, gated, Level.GATE, IRREVERSIBLE, reason)
    if outside is not None:
        reason = f"`{call.tool}` needs approval: without a person the tenant's allow-list wants {sentence(outside)}"
        return _ask(allowance, gated, Level.TENANT, _constraint_rule(call.tool, outside), reason)
    return None


def _wanted_person(
    call: CallFacts, policy: PolicyFacts, gated: tuple[ToolPermission, ...]
) -> tuple[Level, str, str] | None:
    """Level, rule and reason of a need for a person that a remembered rule may stand in for."""
    allowance = policy.allowances[call.tool]
    if allowance.mode is AllowanceMode.ASK:
        reason = f"`{call.tool}` needs approval: the tenant's allow-list says to ask"
        return Level.TENANT, f"{ALLOW_LIST}: {call.tool}", reason
    answer = call.callback_answer
    if answer is None and gated and policy.hooks.approval_gate and policy.hooks.approval_gate.approval_callback:
        answer = "ask"
    if answer == "ask":
        reason = f"`{call.tool}` needs approval: the approval callback left it to a person"
        return Level.GATE, CALLBACK, reason
    if gated and answer is None and allowance.mode is AllowanceMode.BY_PERMISSION:
        names = " and ".join(gated)
        rule = f"{GATED_PERMISSIONS}: {', '.join(gated)}"
        return Level.GATE, rule, f"`{call.tool}` needs approval: it uses {names}"
    return None


def _allowed(call: CallFacts, allowance: AllowanceFacts) -> Allow:
    if call.callback_answer == "approve":
        return Allow(Level.GATE, CALLBACK, f"`{call.tool}` was approved by the approval callback")
    if allowance.mode is AllowanceMode.ALLOW:
        reason = f"`{call.tool}` is allowed without a person by the tenant's allow-list"
        return Allow(Level.TENANT, f"{ALLOW_LIST}: {call.tool}", reason)
    reason = f"`{call.tool}` is on the tenant's allow-list and uses no permission that needs approval"
    return Allow(Level.GATE, GATED_PERMISSIONS, reason)


def _remembered(call: CallFacts, policy: PolicyFacts, now: datetime) -> Allow | None:
    """The remembered approval that covers the call. One rule never stands in for several people."""
    if policy.allowances[call.tool].approvers.count > 1:
        return None
    found = [rule for rule in candidates(policy, call.tool, call.arguments) if _covers(rule, call, now)]
    if not found:
        return None
    rule = min(found, key=lambda rule: rule.id)
    return Allow(Level.RULE, f"rule {rule.id}", f"`{call.tool}` was approved before, and remembered", rule_id=rule.id)


def _covers(rule: RuleFacts, call: CallFacts, now: datetime) -> bool:
    return (
        rule.uses_left > 0
        and rule.expires_at > now
        and (rule.made_at is None or rule.made_at <= now)
        and (rule.agent_id is None or rule.agent_id == call.agent_id)
        and first_unmet(call.arguments, rule.constraints) is None
    )
