"""Who may read a tenant's feed, asked when a socket opens and again every few seconds while it is open."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session

from routekit_site.tenancy.access import membership_of
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Capability, capabilities_of

_SEES_ALL = Capability.VIEW_ALL_RUNS


class Gone(Enum):
    """Why somebody may not read on."""

    SIGNED_OUT = "signed out, deactivated, or the password was changed"
    NO_MEMBER = "no member of the tenant any more"
    LESS_ALLOWED = "a member still, who may not see all any more"


@dataclass(frozen=True)
class Reader:
    """The person behind a socket, as they were when they were last asked about."""

    user_id: int
    tenant_id: int
    name: str
    session_key: str
    # Changes with the password, so that a session that a new password ended is noticed. Never leaves the process.
    session_hash: str
    sees_all: bool


def reader(user: User | AnonymousUser, tenant_id: int, session_key: str) -> Reader | None:
    """The reader that `user` is in a tenant; None for somebody who is no active member of it."""
    membership = membership_of(user, tenant_id)
    if membership is None or not isinstance(user, User):
        return None
    return Reader(
        user_id=user.pk,
        tenant_id=tenant_id,
        name=user.display_name,
        session_key=session_key,
        session_hash=user.get_session_auth_hash(),
        sees_all=_SEES_ALL in capabilities_of(membership.role),
    )


def still_reading(readers: Collection[Reader], now: datetime) -> dict[Reader, Reader | Gone]:
    """Each reader as they stand at `now`, or why they may not read on; three statements for all of them."""
    users = {user.pk: user for user in User.objects.filter(pk__in={each.user_id for each in readers}, is_active=True)}
    hashes = {pk: user.get_session_auth_hash() for pk, user in users.items()}
    sessions = _open_sessions((each.session_key for each in readers), now)
    roles = {
        (member.user_id, member.tenant_id): member.role
        for member in Membership.objects.filter(user_id__in=users.keys())
    }

    def now_is(each: Reader) -> Reader | Gone:
        if hashes.get(each.user_id) != each.session_hash or each.session_key not in sessions:
            return Gone.SIGNED_OUT
        role = roles.get((each.user_id, each.tenant_id))
        if role is None:
            return Gone.NO_MEMBER
        sees_all = _SEES_ALL in capabilities_of(role)
        # What the page shows is not theirs to see any more either: it has to be loaded again.
        if each.sees_all and not sees_all:
            return Gone.LESS_ALLOWED
        return replace(each, name=users[each.user_id].display_name, sees_all=sees_all)

    return {each: now_is(each) for each in readers}


def _open_sessions(keys: Iterable[str], now: datetime) -> set[str]:
    found = Session.objects.filter(session_key__in=set(keys), expire_date__gt=now)
    return set(found.values_list("session_key", flat=True))
