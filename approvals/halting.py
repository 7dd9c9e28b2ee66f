"""Throws the kill switch and takes it back: for one agent, a tenant, or the whole site.

A halt is a row. Workers read it in every statement that could start something, and twice a second for what they have
in hand, so it needs neither the broker nor a free worker. Gates stay as they are; runs go on where they stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction

from approvals.errors import BadHalt, NotHalted
from approvals.gates import needs_transaction
from approvals.models import ApprovalGate
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.models import Halt, Tenant, User
from routekit_site.tenancy.roles import Capability
from traces import ledger, live
from traces.kinds import FeedTopic, LedgerKind
from traces.pasted_secrets import refusal

MAX_REASON = 300
SITE = "site"


@dataclass(frozen=True)
class Target:
    """What is to be stopped: the whole site without a tenant, a whole tenant without an agent."""

    tenant: Tenant | None = None
    agent: str = ""
    agent_name: str = ""

    @property
    def scope(self) -> str:
        """One text for one target; two halts of the same can't stand at once."""
        if self.tenant is None:
            return SITE
        return f"agent {self.tenant.pk}/{self.agent}" if self.agent else f"tenant {self.tenant.pk}"


def check_halt(user: User | AnonymousUser, tenant_id: int | None) -> None:
    """Who may throw the switch and take it back: an admin for their tenant, an operator for the site.

    Raises:
        NotVisible: a stranger to the tenant; for the site, anybody but an operator.
        NotAllowed: a member without the capability.
    """
    if tenant_id is not None:
        check_capability(user, tenant_id, Capability.HALT_AGENTS)
    elif not (user.is_authenticated and user.is_active and user.is_superuser):
        raise NotVisible


@needs_transaction
def halt(target: Target, *, by: str, reason: str, now: datetime) -> Halt:
    """Stop a target. Stopping what is stopped already changes nothing and answers with the halt that stands.

    Raises:
        BadHalt: no reason, one that is too long, or one with a live key or password.
    """
    reason = reason.strip()
    if not 0 < len(reason) <= MAX_REASON:
        raise BadHalt
    if pasted := refusal(reason, what="The reason"):
        raise BadHalt(pasted)
    standing = Halt.objects.standing().filter(scope=target.scope)
    thrown = Halt(
        scope=target.scope,
        tenant=target.tenant,
        agent=target.agent,
        agent_name=target.agent_name[:120],
        reason=reason,
        halted_at=now,
        halted_by=by[:150],
    )
    try:
        with transaction.atomic():
            thrown.save(force_insert=True)
    except IntegrityError:
        return standing.select_related("tenant").get()
    _tell(thrown, "halted", by, now)
    return thrown


@needs_transaction
def lift(halt_id: int, *, by: str, now: datetime) -> Halt:
    """Take a halt back: runs go on where they stood, and the clocks of their gates get the lost time back.

    Raises:
        NotHalted: it was lifted already, or there is none.
    """
    if Halt.objects.standing().filter(pk=halt_id).update(lifted_at=now, lifted_by=by[:150]) != 1:
        raise NotHalted
    lifted = Halt.objects.select_related("tenant").get(pk=halt_id)
    gates = ApprovalGate.objects.all() if lifted.tenant_id is None else ApprovalGate.objects.in_tenant(lifted.tenant_id)
    whose = gates.filter(agent_id=lifted.agent) if lifted.agent else gates
    # Two halts that overlap give back the shorter time, never more than was lost.
    whose.give_back(now - lifted.halted_at)
    _tell(lifted, "lifted", by, now)
    return lifted


def _tell(changed: Halt, act: str, by: str, now: datetime) -> None:
    """Ledger and feed of every tenant concerned, one after the other in the order of their ids."""
    everybody = Tenant.objects.order_by("pk").values_list("pk", flat=True)
    tenants = list(everybody) if changed.tenant_id is None else [changed.tenant_id]
    whose = {"agent": changed.agent, "agent_name": changed.agent_name} if changed.agent else {}
    facts = {"act": act, "halt": changed.pk, "scope": changed.scope, "reason": changed.reason, **whose}
    for tenant_id in tenants:
        ledger.append(tenant_id=tenant_id, kind=LedgerKind.HALT, actor=by, facts=facts, now=now)
        live.announce(
            tenant_id=tenant_id, topic=FeedTopic.HALT, subject_id=str(changed.pk), facts={"act": act}, now=now
        )
