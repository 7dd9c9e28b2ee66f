"""What a draft policy would have decided on the calls of the last 30 days. Changes nothing, calls nothing.

The past is replayed as it was: each agent's filter and each callback's answer as recorded, each remembered rule from
the moment it was made until it ended. What is new is the draft alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from approvals import manifests
from approvals.models import TenantPolicy, ToolAllowance, ToolRule
from approvals.policy import decide
from approvals.policy_facts import allowances, hooks, rule_facts, tenant_policy
from approvals.recorded_calls import VERDICT_NAMES, WINDOW, PastCall, past_calls
from approvals.types import CallFacts, JSONValue, PolicyFacts, RuleFacts, ToolFilter, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 10_000


@dataclass(frozen=True)
class ChangedVerdict:
    """One past call that the draft would have decided otherwise. `before` is allow, deny or ask."""

    past: PastCall
    before: str
    after: str
    verdict: Verdict


@dataclass(frozen=True)
class Simulation:
    """How many calls were looked at, and those whose verdict would change, newest first."""

    looked_at: int
    changed: tuple[ChangedVerdict, ...]

    @property
    def counts(self) -> tuple[tuple[str, str, int], ...]:
        """How many verdicts would change from what to what, such as ("ask", "allow", 12); most first."""
        counted = Counter((change.before, change.after) for change in self.changed)
        return tuple((before, after, count) for (before, after), count in counted.most_common())


def draft(
    tenant_id: int,
    *,
    changed: Iterable[ToolAllowance] = (),
    removed: Iterable[str] = (),
    policy: TenantPolicy | None = None,
) -> PolicyFacts:
    """The tenant's policy as it would be with these unsaved entries, without those tools, with these settings."""
    settings = policy or tenant_policy(tenant_id)
    rows = {row.tool: row for row in ToolAllowance.objects.filter(tenant_id=tenant_id)}
    rows |= {row.tool: row for row in changed}
    kept = [row for tool, row in rows.items() if tool not in set(removed)]
    return PolicyFacts(allowances=allowances(kept, settings), hooks=hooks(settings))


def simulate(tenant_id: int, facts: PolicyFacts, *, now: datetime, limit: int = LIMIT) -> Simulation:
    """Decide the newest `limit` calls of the last 30 days under `facts` and compare with the verdicts of the day."""
    past = past_calls(tenant_id, until=now, limit=limit)
    rules = tuple(_past_rules(tenant_id, now))
    by_filter: dict[ToolFilter | None, PolicyFacts] = {}
    changed = []
    for one in past:
        if one.agent_filter not in by_filter:
            by_filter[one.agent_filter] = replace(facts, agent_filter=one.agent_filter, rules=rules)
        verdict = decide(_replayed(one.call, facts), by_filter[one.agent_filter], one.at)
        after = VERDICT_NAMES[type(verdict)]
        if after != one.verdict:
            changed.append(ChangedVerdict(one, one.verdict, after, verdict))
    return Simulation(len(past), tuple(changed))


def tested(facts: PolicyFacts, tool: str, arguments: dict[str, JSONValue], *, now: datetime) -> Verdict:
    """The verdict on one made-up call, before any agent's own filter and any callback.

    Raises:
        UnknownTool: no tool has that name.
    """
    manifest = manifests.get(tool)
    call = CallFacts(
        tool=tool,
        arguments=arguments,
        permissions=manifest.permissions,
        reversibility=manifest.reversibility_for(arguments),
        agent_id="",
    )
    return decide(call, facts, now)


def _replayed(call: CallFacts, facts: PolicyFacts) -> CallFacts:
    """The call as the draft meets it: where the draft has no callback, none has answered."""
    gate = facts.hooks.approval_gate
    if gate is not None and gate.approval_callback:
        return call
    return replace(call, callback_answer=None) if call.callback_answer else call


def _past_rules(tenant_id: int, now: datetime) -> Iterable[RuleFacts]:
    for rule in ToolRule.objects.filter(tenant_id=tenant_id, expires_at__gt=now - WINDOW):
        end = rule.expires_at if rule.revoked_at is None else min(rule.expires_at, rule.revoked_at)
        yield replace(rule_facts(rule), expires_at=end, uses_left=1)
