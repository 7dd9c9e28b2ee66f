"""Who may do what in which tenant. Pairs: `check_x` raises, `can_x` answers.

A stranger to a tenant is told that there is nothing (404); a member without the capability is told so (403).

Note [Once a page]: a page that only shows asks a dozen times what one person may do in one tenant. The answer is read
once in such a request and forgotten with it. What changes something, and whatever runs outside of a request, reads it
each time; and nothing that is held is ever remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import CAPABILITIES, Capability, capabilities_of
from routekit_site.tenancy.statements import Query, slot


def _active_membership() -> QuerySet[Membership]:
    found = Membership.objects.select_related("tenant").filter(user_id=slot("user"), tenant_id=slot("tenant"))
    return found.filter(user__is_active=True)


_MEMBERSHIP = Query(_active_membership)
_HELD = Query(lambda: _active_membership().select_for_update(no_key=True, of=("self",)))


_remembered: ContextVar[dict[tuple[int, int], Membership | None] | None] = ContextVar("memberships", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Read each membership once in this block (see Note [Once a page]). Nothing in it may change memberships."""
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def membership_of(user: User | AnonymousUser, tenant_id: int, *, hold: bool = False) -> Membership | None:
    """The user's membership in a tenant, read afresh: a role that was taken away a second ago is gone.

    A page that only shows reads it once (see Note [Once a page]). With `hold`, whoever wants to take or change it waits
    until this transaction has ended.
    """
    if not user.is_authenticated or not user.is_active:
        return None
    known = _remembered.get()
    if hold or known is None:
        return (_HELD if hold else _MEMBERSHIP).first(user=user.pk, tenant=tenant_id)
    if (user.pk, tenant_id) not in known:
        known[user.pk, tenant_id] = _MEMBERSHIP.first(user=user.pk, tenant=tenant_id)
    return known[user.pk, tenant_id]


def check_capability(
    user: User | AnonymousUser, tenant_id: int, capability: Capability, *, hold: bool = False
) -> Membership:
    """The membership that gives `capability`; see `membership_of` for `hold`.

    Raises:
        NotVisible: `user` is no member of the tenant.
        NotAllowed: a member, without the capability.
    """
    membership = membership_of(user, tenant_id, hold=hold)
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
