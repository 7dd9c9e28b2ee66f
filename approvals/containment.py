"""After a violation: the tool is taken out of use for an agent or the tenant, and an admin gives it back (AISVS 9.3.8).

Nothing of a contained tool runs: policy denies it, its open requests and approvals are closed, its remembered rules
end, and calls that are running are stopped by the workers that hold them. Everything that writes needs an open
transaction and takes its locks in the house's order: gates, traces, ledger, feed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.db.models import Q

from approvals import closing
from approvals.errors import BadLifting, ContainmentOver
from approvals.models import Containment, ToolRule
from approvals.moving import needs_transaction
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.models import User
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.statements import Query, slot
from traces import ledger, live, recorder
from traces.kinds import EventKind, FeedTopic, LedgerKind
from traces.pasted_secrets import refusal
from traces.redactors import redact

_MAX_TEXT = 500
_CONTAINED = Query(
    lambda: (
        Containment.objects.filter(Q(agent_id="") | Q(agent_id=slot("agent")), tenant_id=slot("tenant"))
        .in_force()
        .values_list("tool")
    )
)


@dataclass(frozen=True)
class Offence:
    """What a tool did, in which call. `agent_id` is empty where the tool itself, whoever calls it, is to blame."""

    tenant_id: int
    tool: str
    agent_id: str
    agent_name: str
    attack_class: str
    detail: str
    tier: str
    run_id: UUID
    call_id: str


@needs_transaction
def contain(offence: Offence, *, now: datetime) -> Containment | None:
    """Take the tool out of use; None where it is already. Answers once the requests, approvals and rules are ended."""
    begun = Containment(
        tenant_id=offence.tenant_id,
        tool=offence.tool,
        agent_id=offence.agent_id,
        agent_name=offence.agent_name,
        attack_class=offence.attack_class,
        detail=str(redact(offence.tenant_id, offence.detail))[:_MAX_TEXT],
        tier=offence.tier,
        run_id=offence.run_id,
        call_id=offence.call_id,
        begun_at=now,
    )
    try:
        with transaction.atomic():
            begun.save(force_insert=True)
    except IntegrityError:
        return None
    why = f"{begun.tool} was contained after a violation."
    begun.calls = closing.withdraw_tool(offence.tenant_id, offence.tool, offence.agent_id, now=now, why=why)
    begun.rules = _end_rules(begun)
    Containment.objects.filter(pk=begun.pk).update(calls=begun.calls, rules=begun.rules)
    _record(begun, now)
    _note(begun, "sandbox", "contained", now, {"calls": begun.calls, "rules": begun.rules})
    _announce(begun, now)
    return begun


@needs_transaction
def lift(containment_id: UUID, user: User, reason: str, *, now: datetime) -> Containment:
    """Give a contained tool back. What was revoked stays revoked.

    Raises:
        NotVisible: there is no such containment, or `user` is no member of its tenant.
        NotAllowed: a member who may not manage policy.
        BadLifting: no reason, one that is too long, or one with a live key or password.
        ContainmentOver: somebody has lifted it already.
    """
    found = Containment.objects.filter(pk=containment_id).first()
    if found is None:
        raise NotVisible
    check_capability(user, found.tenant_id, Capability.MANAGE_POLICY)
    if pasted := refusal(reason, what="The reason"):
        raise BadLifting(pasted)
    said = str(redact(found.tenant_id, reason.strip()))
    if not said or len(said) > _MAX_TEXT:
        raise BadLifting
    lifted = {"lifted_at": now, "lifted_by": user, "lift_reason": said}
    if Containment.objects.filter(pk=found.pk, lifted_at=None).update(**lifted) != 1:
        raise ContainmentOver
    for name, value in lifted.items():
        setattr(found, name, value)
    _note(found, user.get_username(), "lifted", now, {"reason": said, "person": user.pk})
    _announce(found, now)
    return found


def contained_tools(tenant_id: int, agent_id: str) -> frozenset[str]:
    """The tools that may not run for this agent now."""
    return frozenset(tool for (tool,) in _CONTAINED.rows(tenant=tenant_id, agent=agent_id))


def contained_in(tenant_ids: Iterable[int]) -> frozenset[tuple[int, str, str]]:
    """(tenant, tool, agent or "") of everything that is contained in these tenants."""
    found = Containment.objects.filter(tenant_id__in=set(tenant_ids)).in_force()
    return frozenset(found.values_list("tenant_id", "tool", "agent_id"))


def in_force(user: User | AnonymousUser, tenant_id: int) -> list[Containment]:
    """What is contained in a tenant, newest first, for those who decide there.

    Raises:
        NotVisible, NotAllowed: see `check_capability`.
    """
    check_capability(user, tenant_id, Capability.VIEW_QUEUE)
    return list(Containment.objects.filter(tenant_id=tenant_id).in_force().order_by("-begun_at"))


def _end_rules(begun: Containment) -> int:
    rules = ToolRule.objects.filter(tenant_id=begun.tenant_id, tool=begun.tool, ended_by=None)
    if begun.agent_id:
        # A rule for every agent may go on for the others: policy denies this one all the same.
        rules = rules.filter(agent_id=begun.agent_id)
    return rules.in_force(begun.begun_at).update(ended_by=begun)


def _record(begun: Containment, now: datetime) -> None:
    said = {"class": begun.attack_class, "detail": begun.detail, "tenant": begun.tenant_id, "tool": begun.tool}
    payload = {**said, "tier": begun.tier, "contained": begun.whom()}
    recorder.record(run_id=begun.run_id, kind=EventKind.TOOL_CONTAINED, payload=payload, now=now, call_id=begun.call_id)


def _note(found: Containment, actor: str, act: str, now: datetime, facts: dict[str, Any]) -> None:
    about = {"tool": found.tool, "agent": found.agent_id, "class": found.attack_class, "detail": found.detail}
    whence = {"tier": found.tier, "run": str(found.run_id), "call": found.call_id}
    ledger.append(
        tenant_id=found.tenant_id,
        kind=LedgerKind.CONTAINMENT,
        actor=actor,
        facts={"act": act, "containment": str(found.pk), **about, **whence, **facts},
        now=now,
    )


def _announce(found: Containment, now: datetime) -> None:
    live.announce(
        tenant_id=found.tenant_id,
        topic=FeedTopic.CONTAINMENT,
        subject_id=str(found.pk),
        facts={
            "state": "lifted" if found.lifted_at else "contained",
            "tool": found.tool,
            "agent": found.agent_name,
            "class": found.attack_class,
        },
        now=now,
    )
