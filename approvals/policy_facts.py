"""Gathers all the policy that applies to one tenant's calls into plain facts, and says what it says of one tool.

Note [Policy by row versions]: policy is asked for at each step and changes once in a while, and reading it costs more
than judging by it. PostgreSQL tells with each row which transaction wrote it (`xmin`) and where it is (`ctid`); no two
versions of a row agree in both. So one small statement says whether the rows are those that facts were made of before,
in this process: then these facts hold, exactly. They are kept only if the rows were the same before and after they were
read; and since a server that was put back to an earlier state gives its numbers again, not beyond a restart of the
server. Rules are few, used up and time-bound, so only whether there are any is asked, never what they say.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, Q
from pydantic import TypeAdapter

from approvals.approvers import fewest, parsed, roles_in
from approvals.canonical import digest
from approvals.effects import Reversibility, ToolPermission
from approvals.models import Containment, TenantPolicy, ToolAllowance, ToolRule
from approvals.policy import denial
from approvals.types import (
    AllowanceFacts,
    AllowanceMode,
    ApprovalGatePolicy,
    ApproverRequirement,
    ArgumentConstraint,
    PolicyFacts,
    PolicyHooks,
    RuleFacts,
    ToolFilter,
)
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.roles import CAPABILITIES, Capability
from routekit_site.tenancy.statements import Query, execute, slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from approvals.types import JSONValue

    Versions = tuple[object, ...]
    Key = tuple[int, str, Versions]
    Facts = tuple[dict[str, AllowanceFacts], ApprovalGatePolicy]

APPROVER_ROLES = tuple(sorted(role.value for role, may in CAPABILITIES.items() if Capability.DECIDE_GATE in may))
_POLICY = Query(lambda: TenantPolicy.objects.filter(tenant_id=slot("tenant")))
_CONTAINED = Containment.objects.filter(
    Q(agent_id="") | Q(agent_id=slot("agent")), tenant_id=OuterRef("tenant_id"), tool=OuterRef("tool"), lifted_at=None
)
_ALLOWANCES = Query(
    lambda: ToolAllowance.objects.filter(tenant_id=slot("tenant")).annotate(contained=Exists(_CONTAINED))
)
_RULES = Query(lambda: ToolRule.objects.in_force(slot("now")).filter(tenant_id=slot("tenant")))
_VERSIONS = """
SELECT pg_postmaster_start_time()::text,
       (SELECT xmin || ' ' || ctid FROM approvals_tenantpolicy WHERE tenant_id = %s),
       (SELECT string_agg(id || ' ' || xmin || ctid, ',' ORDER BY id)
        FROM approvals_toolallowance WHERE tenant_id = %s),
       (SELECT string_agg(id || ' ' || xmin || ctid, ',' ORDER BY id)
        FROM approvals_containment WHERE tenant_id = %s AND lifted_at IS NULL),
       EXISTS (SELECT 1 FROM approvals_toolrule WHERE tenant_id = %s AND revoked_at IS NULL)
"""
_MOST_KEPT = 512
_CONSTRAINTS = TypeAdapter(tuple[ArgumentConstraint, ...])

logger = logging.getLogger(__name__)


def constraints_from(stored: JSONValue) -> tuple[ArgumentConstraint, ...]:
    """The constraints of a JSON column. Raises `pydantic.ValidationError` for what was never valid."""
    return _CONSTRAINTS.validate_python(stored)


def tenant_policy(tenant_id: int) -> TenantPolicy:
    """The tenant's row, or one with the defaults that is not stored."""
    return _POLICY.first(tenant=tenant_id) or TenantPolicy(tenant_id=tenant_id)


def policy_facts(tenant_id: int, *, agent_filter: ToolFilter | None, now: datetime, agent_id: str = "") -> PolicyFacts:
    """The policy in force now: allow-list, tenant's settings, site-wide filter, remembered rules.

    With an `agent_id`, what was contained for that agent alone counts too. One query where this process knows the rows
    (see Note [Policy by row versions]), else up to five.
    """
    seen = _versions(tenant_id)
    known = _kept.get((tenant_id, agent_id, seen)) if seen is not None else None
    if known is None:
        policy = tenant_policy(tenant_id)
        known = allowances(_ALLOWANCES.all(tenant=tenant_id, agent=agent_id), policy), _gate(policy)
        if seen is not None and seen == _versions(tenant_id):
            _kept.put((tenant_id, agent_id, seen), known)
    rules = _RULES.all(tenant=tenant_id, now=now) if seen is None or seen[-1] else []
    return PolicyFacts(
        allowances=dict(known[0]),
        hooks=PolicyHooks(tool_filter=settings.ROUTEKIT_TOOL_FILTER, approval_gate=known[1]),
        agent_filter=agent_filter,
        rules=tuple(_readable(rules)),
    )


def _versions(tenant_id: int) -> Versions | None:
    """Which versions of the tenant's policy rows are in force, and whether it has rules; None on another database."""
    if connection.vendor != "postgresql":
        return None
    return tuple(execute(_VERSIONS, [tenant_id] * 4)[0])


class _Kept:
    """Facts by the rows that they were made of; the ones that were asked for last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._facts: OrderedDict[Key, Facts] = OrderedDict()

    def get(self, key: Key) -> Facts | None:
        with self._lock:
            found = self._facts.get(key)
            if found is not None:
                self._facts.move_to_end(key)
            return found

    def put(self, key: Key, facts: Facts) -> None:
        with self._lock:
            self._facts[key] = facts
            if len(self._facts) > _MOST_KEPT:
                self._facts.popitem(last=False)


_kept = _Kept()


def hooks(policy: TenantPolicy) -> PolicyHooks:
    """The hooks in force: the site's filter and the tenant's gate. Redaction is the trace floor's own to look up."""
    return PolicyHooks(tool_filter=settings.ROUTEKIT_TOOL_FILTER, approval_gate=_gate(policy))


def _gate(policy: TenantPolicy) -> ApprovalGatePolicy:
    return ApprovalGatePolicy(
        require_approval_for_permissions=tuple(map(ToolPermission, policy.require_approval_for_permissions)),
        approval_callback=policy.approval_callback or None,
    )


def allowances(rows: Iterable[ToolAllowance], policy: TenantPolicy) -> dict[str, AllowanceFacts]:
    """The allow-list by tool; an entry without clocks of its own has the tenant's."""
    return {row.tool: allowance_facts(row, policy) for row in rows}


def allowance_facts(row: ToolAllowance, policy: TenantPolicy) -> AllowanceFacts:
    """One entry of the allow-list as plain facts."""
    decide_by = row.decide_by_seconds or policy.decide_by_seconds
    return AllowanceFacts(
        tool=row.tool,
        mode=AllowanceMode(row.mode),
        constraints=constraints_from(row.constraints),
        reversibility=Reversibility(row.reversibility) if row.reversibility else None,
        approvers=_approvers(row, policy, decide_by),
        decide_by_seconds=decide_by,
        execute_by_seconds=row.execute_by_seconds or policy.execute_by_seconds,
        contained=getattr(row, "contained", False),
    )


def _approvers(row: ToolAllowance, policy: TenantPolicy, decide_by_seconds: int) -> ApproverRequirement:
    """Who has to approve: the expression where there is one, else roles and number; the second group at half-time."""
    roles, count = tuple(row.approver_roles) or ApproverRequirement().roles, row.approvals_needed
    if row.approver_expression:
        alternatives = parsed(row.approver_expression, APPROVER_ROLES)
        roles, count = tuple(roles_in(alternatives)), fewest(alternatives)
    return ApproverRequirement(
        roles=roles,
        count=count,
        four_eyes=row.four_eyes,
        expression=row.approver_expression,
        escalation_roles=tuple(policy.escalation_roles),
        escalate_after_seconds=decide_by_seconds // 2 if policy.escalation_roles else 0,
    )


def _readable(rules: Iterable[ToolRule]) -> Iterator[RuleFacts]:
    """The rules that can be decrypted. One whose key is lost allows nothing: its calls are asked about again."""
    for rule in rules:
        try:
            yield rule_facts(rule)
        except DecryptionFailed:
            logger.warning("remembered rule %s can't be decrypted and is not applied", rule.id)


def rule_facts(rule: ToolRule) -> RuleFacts:
    """One remembered rule as plain facts."""
    return RuleFacts(
        id=str(rule.id),
        tool=rule.tool,
        agent_id=rule.agent_id or None,
        constraints=constraints_from(unseal(rule.constraints_sealed)),
        expires_at=rule.expires_at,
        uses_left=rule.max_uses - rule.uses,
        made_at=rule.made_at,
    )


def policy_digest(facts: PolicyFacts, tool: str) -> str:
    """SHA-256, hex, of what the policy says of this tool only.

    A change to another tool's entry leaves it as it is. Clocks and remembered rules are left out: neither changes what
    a person was asked, and the verdict is taken again at redemption anyway.
    """
    allowance = facts.allowances.get(tool)
    refusal = denial(tool, facts)
    gate = facts.hooks.approval_gate
    return digest(
        {
            "tool": tool,
            "allowance": None if allowance is None else _said(allowance),
            "refusal": None if refusal is None else [refusal.level, refusal.rule],
            "gated_permissions": sorted(gate.require_approval_for_permissions) if gate else [],
            "callback": gate.approval_callback if gate else None,
        }
    )


def _said(allowance: AllowanceFacts) -> JSONValue:
    return {
        "mode": allowance.mode,
        "constraints": [constraint.model_dump(mode="json") for constraint in allowance.constraints],
        "reversibility": allowance.reversibility,
        "approver_roles": sorted(allowance.approvers.roles),
        "approvals_needed": allowance.approvers.count,
        "four_eyes": allowance.approvers.four_eyes,
        # Left out where there is none, so that gates from before there were expressions keep their digest.
        **({"expression": allowance.approvers.expression} if allowance.approvers.expression else {}),
    }
