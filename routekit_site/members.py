"""Who belongs to a tenant: invited, given a role, removed; each change in the tenant's ledger, never the last admin.

Note [Invited, not added]: an admin who could add an account by its name would learn which accounts other tenants have,
and whose they are. So a person is invited by a link that works once, and accepts it under an account of their own. It
is good for as long as whoever made it may still invite: an admin who was removed can't come back by a link kept aside.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from allauth.mfa.models import Authenticator
from django.db import connection
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from routekit_site.tenancy.access import can_capability
from routekit_site.tenancy.errors import AlreadyMember, InvitationOver, LastAdmin, NotVisible
from routekit_site.tenancy.models import Invitation, Membership, Tenant, User
from routekit_site.tenancy.roles import Capability, Role
from traces import ledger, live
from traces.errors import NoTransaction
from traces.kinds import FeedTopic, LedgerKind

INVITATION_DAYS = 7


def members_of(tenant_id: int) -> QuerySet[Membership]:
    """The tenant's members by name, with `second_step`: whether the account asks for more than a password."""
    steps = Authenticator.objects.filter(user_id=OuterRef("user_id")).exclude(type=Authenticator.Type.RECOVERY_CODES)
    found = Membership.objects.filter(tenant_id=tenant_id).select_related("user", "tenant")
    return found.annotate(second_step=Exists(steps)).order_by("user__first_name", "user__username")


def open_invitations(tenant_id: int, now: datetime) -> QuerySet[Invitation]:
    """Invitations that nobody has accepted or withdrawn and whose time is not over, newest first."""
    found = Invitation.objects.standing(now).filter(tenant_id=tenant_id)
    return found.select_related("created_by").order_by("-created_at")


def tenants_at_a_glance() -> QuerySet[Tenant]:
    """Every tenant with `members` and active `admins` counted, and nothing else of it: for operators."""
    admins = Count("memberships", filter=Q(memberships__role=Role.ADMIN, memberships__user__is_active=True))
    return Tenant.objects.annotate(members=Count("memberships"), admins=admins).order_by("name")


def give_role(
    tenant: Tenant, user: User, role: Role, *, actor: str, now: datetime, even_the_last: bool = False
) -> None:
    """Make `user` a member under `role`, or change the role they have.

    Raises:
        LastAdmin: nobody else administers the tenant, and `even_the_last` was not said.
    """
    _hold(tenant)
    found = Membership.objects.filter(tenant=tenant, user=user).first()
    before = found.role if found else None
    if before == role:
        return
    if found and before == Role.ADMIN and not even_the_last:
        _check_others(found)
    Membership.objects.update_or_create(user=user, tenant=tenant, defaults={"role": role})
    _note(tenant, actor, now, person=user.get_username(), before=before, after=role.value)
    _announce(tenant, user, role.value, now)


def remove(membership: Membership, *, actor: str, now: datetime, even_the_last: bool = False) -> None:
    """End a membership. Sockets of the person's close at once, pages find nothing at the next request.

    Raises:
        LastAdmin: nobody else administers the tenant, and `even_the_last` was not said.
        NotVisible: somebody else has ended it meanwhile.
    """
    _hold(membership.tenant)
    found = Membership.objects.filter(pk=membership.pk).select_related("user", "tenant").first()
    if found is None:
        raise NotVisible
    if found.role == Role.ADMIN and not even_the_last:
        _check_others(found)
    found.delete()
    _note(found.tenant, actor, now, person=found.user.get_username(), before=found.role, after=None)
    _announce(found.tenant, found.user, None, now)


def invite(tenant: Tenant, role: Role, *, by: User, now: datetime) -> tuple[Invitation, str]:
    """Invite somebody to the tenant; the invitation, and the secret of its link, which is stored nowhere."""
    secret = secrets.token_urlsafe(32)
    made = Invitation.objects.create(
        tenant=tenant,
        role=role,
        digest=_digest(secret),
        created_by=by,
        created_at=now,
        expires_at=now + timedelta(days=INVITATION_DAYS),
    )
    _tell(tenant, by.get_username(), now, act="invited", role=role.value, invitation=made.pk)
    return made, secret


def withdraw(invitation: Invitation, *, by: User, now: datetime) -> None:
    """Take an invitation back, unless it is over already."""
    if Invitation.objects.standing(now).filter(pk=invitation.pk).update(closed_at=now, closed_by=by):
        _tell(invitation.tenant, by.get_username(), now, act="invitation withdrawn", invitation=invitation.pk)


def invitation_of(secret: str, now: datetime) -> Invitation:
    """The invitation that a link leads to.

    Raises:
        InvitationOver: accepted, withdrawn, too old, made by somebody who may not invite any more; or there is none.
    """
    found = Invitation.objects.standing(now).filter(digest=_digest(secret))
    invitation = found.select_related("tenant", "created_by").first()
    if invitation is None or not _may_invite(invitation):
        raise InvitationOver
    return invitation


def accept(secret: str, user: User, *, now: datetime) -> Membership:
    """Join the tenant that invites.

    Raises:
        InvitationOver: see `invitation_of`; and of two who accept at once, the second.
        AlreadyMember: a role is changed by an admin, not by a link. The invitation stays good for somebody else.
    """
    invitation = invitation_of(secret, now)
    tenant = invitation.tenant
    _hold(tenant)
    if Membership.objects.filter(tenant=tenant, user=user).exists():
        raise AlreadyMember
    if not Invitation.objects.standing(now).filter(pk=invitation.pk).update(closed_at=now, closed_by=user):
        raise InvitationOver
    made = Membership.objects.create(tenant=tenant, user=user, role=invitation.role)
    by = invitation.created_by.get_username()
    _note(tenant, user.get_username(), now, person=user.get_username(), before=None, after=made.role, invited_by=by)
    _announce(tenant, user, made.role, now)
    return made


def make_tenant(slug: str, name: str, *, actor: str, now: datetime) -> Tenant:
    """A new tenant with nobody in it.

    Raises:
        django.core.exceptions.ValidationError: the short name is taken, or one of the names is none.
    """
    tenant = Tenant(slug=slug, name=name)
    tenant.full_clean()
    tenant.save()
    _tell(tenant, actor, now, act="tenant made", name=name)
    return tenant


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _may_invite(invitation: Invitation) -> bool:
    """Whether who made it may still invite: an admin of the tenant; or an operator, to a tenant without an admin."""
    by, tenant_id = invitation.created_by, invitation.tenant_id
    if can_capability(by, tenant_id, Capability.MANAGE_MEMBERS):
        return True
    return by.is_active and by.is_superuser and not has_admin(tenant_id)


def has_admin(tenant_id: int) -> bool:
    """Whether somebody can administer the tenant now."""
    return Membership.objects.filter(tenant_id=tenant_id, role=Role.ADMIN, user__is_active=True).exists()


def _hold(tenant: Tenant) -> None:
    """Changes of one tenant's members follow one another: of two admins who remove each other, one stays."""
    if not connection.in_atomic_block:
        raise NoTransaction
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)


def _check_others(membership: Membership) -> None:
    admins = Membership.objects.filter(tenant_id=membership.tenant_id, role=Role.ADMIN, user__is_active=True)
    if not admins.exclude(pk=membership.pk).exists():
        raise LastAdmin


def _note(tenant: Tenant, actor: str, now: datetime, **facts: str | None) -> None:
    _tell(tenant, actor, now, act="membership", **facts)


def _announce(tenant: Tenant, user: User, role: str | None, now: datetime) -> None:
    """Tell open pages who is what now; the hub asks at once who may still listen."""
    facts: dict[str, int | str | None] = {"person": user.pk, "role": role}
    live.announce(tenant_id=tenant.pk, topic=FeedTopic.MEMBERSHIP, subject_id=str(user.pk), facts=facts, now=now)


def _tell(tenant: Tenant, actor: str, now: datetime, **facts: str | int | None) -> None:
    ledger.append(tenant_id=tenant.pk, kind=LedgerKind.POLICY_CHANGE, actor=actor, facts=facts, now=now)
