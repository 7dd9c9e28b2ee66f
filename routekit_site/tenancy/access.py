"""Who may do what in which tenant. Pairs: `check_x` raises, `can_x` answers.

A stranger to a tenant is told that there is nothing (404); a member without the capability is told so (403).
"""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser

from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import CAPABILITIES, Capability, capabilities_of
from routekit_site.tenancy.statements import Query, slot

_MEMBERSHIP = Query(
    lambda: Membership.objects.select_related("tenant").filter(user_id=slot("user"), tenant_id=slot("tenant"))
)


def membership_of(user: User | AnonymousUser, tenant_id: int) -> Membership | None:
    """The user's membership in a tenant, read afresh: a role that was taken away a second ago is gone."""
    if not user.is_authenticated or not user.is_active:
        return None
    return _MEMBERSHIP.first(user=user.pk, tenant=tenant_id)


def check_capability(user: User | AnonymousUser, tenant_id: int, capability: Capability) -> Membership:
    """The membership that gives `capability`.

    Raises:
        NotVisible: `user` is no member of the tenant.
        NotAllowed: a member, without the capability.
    """
    membership = membership_of(user, tenant_id)
    if membership is None:
        raise NotVisible
    if capability not in capabilities_of(membership.role):
        message = (
            f"Your role in {membership.tenant.name} ({membership.role}) does not allow this. Ask one of its admins."
        )
        raise NotAllowed(message)
    return membership


def can_capability(user: User | AnonymousUser, tenant_id: int, capability: Capability) -> bool:
    """Whether `check_capability` would pass."""
    membership = membership_of(user, tenant_id)
    return membership is not None and capability in capabilities_of(membership.role)


def tenants_with(user: User | AnonymousUser, capability: Capability) -> list[int]:
    """Ids of the tenants in which `user` has `capability`."""
    if not user.is_authenticated or not user.is_active:
        return []
    roles = [role for role, capabilities in CAPABILITIES.items() if capability in capabilities]
    return list(Membership.objects.filter(user_id=user.pk, role__in=roles).values_list("tenant_id", flat=True))
