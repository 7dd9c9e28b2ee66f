"""The kill switch, as everybody reads it: which agents are stopped now. `approvals.halting` is who throws it.

Whatever starts something asks in the statement that it makes anyway (`halted`), so the answer costs no round trip and
can't be older than the transaction; a database that can't say whether an agent is stopped can't start anything either.
"""

from __future__ import annotations

from django.db.models import CharField, Exists, OuterRef, Q
from django.db.models.functions import Cast

from routekit_site.tenancy.models import Halt, Membership


def halted(agent: str) -> Exists:
    """Whether the kill switch stands for a row of a query: of its agent, its tenant or the whole site.

    Args:
        agent: the row's column with the agent's id. Its tenant is the column `tenant_id`.
    """
    whole = Q(tenant=None) | Q(tenant=OuterRef("tenant_id"), agent="")
    own = Q(tenant=OuterRef("tenant_id"), agent=Cast(OuterRef(agent), CharField(max_length=64)))
    return Exists(Halt.objects.standing().filter(whole | own))


def standing_for(tenant_id: int, agent: str) -> Halt | None:
    """The halt that stops an agent now, the oldest of several; None where nothing does."""
    found = Q(tenant=None) | Q(tenant_id=tenant_id, agent__in=["", agent])
    return Halt.objects.standing().filter(found).select_related("tenant").order_by("halted_at", "id").first()


def standing_in(memberships: list[Membership]) -> list[Halt]:
    """What a person is told of on every page: halts of the whole site, and of the tenants that they belong to."""
    tenants = [membership.tenant_id for membership in memberships]
    found = Halt.objects.standing().filter(Q(tenant=None) | Q(tenant__in=tenants))
    return list(found.select_related("tenant").order_by("halted_at", "id"))
