"""Sign-ins in the ledger of each tenant that the account belongs to: who came, who failed, which second step changed.

An account that belongs to no tenant leaves no entry, nor does a name that is no account's.
"""

from __future__ import annotations

from datetime import datetime

from django.core.cache import cache
from django.db import transaction
from redis import RedisError

from routekit_site.tenancy.models import User
from traces import ledger
from traces.kinds import LedgerKind

# Anybody can fail to sign in as often as they have addresses; a ledger is for ever.
ONE_FAILURE_IN = 60


def note(user: User, act: str, *, now: datetime, **facts: str) -> None:
    """Append one entry to each tenant's ledger, in a fixed order: heads are locked in it.

    Raises:
        LedgerWriteFailed: nobody comes in unnoticed.
    """
    with transaction.atomic():
        for tenant_id in user.memberships.order_by("tenant_id").values_list("tenant_id", flat=True):
            told = {"act": act, "person": _name(user), **facts}
            ledger.append(tenant_id=tenant_id, kind=LedgerKind.SIGN_IN, actor=_name(user), facts=told, now=now)


def note_failure(user_id: int, act: str, *, now: datetime) -> None:
    """Note a failed sign-in or a lock-out of an account, if there is one; at most one of each kind in a minute."""
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        return
    try:
        first = cache.add(f"noted:{act.replace(' ', '-')}:{user.pk}", 1, ONE_FAILURE_IN)
    except RedisError:
        first = True
    if first:
        note(user, act, now=now)


def _name(user: User) -> str:
    """The user name; where that is an e-mail address, the account's number."""
    name = user.get_username()
    return f"account {user.pk}" if "@" in name else name
