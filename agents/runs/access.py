"""Who may submit, see and cancel runs. Pairs: `check_x` raises, `can_x` answers."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import AnonymousUser

from agents.models import Run, RunQuerySet
from routekit_site.tenancy.access import can_capability, check_capability, membership_of
from routekit_site.tenancy.errors import NotAllowed, NotVisible, TenancyError
from routekit_site.tenancy.models import User
from routekit_site.tenancy.roles import Capability, capabilities_of

Person = User | AnonymousUser


def check_submit(user: Person, tenant_id: int) -> None:
    """Raises `NotVisible` for a stranger to the tenant, `NotAllowed` for a member who may not submit."""
    check_capability(user, tenant_id, Capability.SUBMIT_RUN)


def can_submit(user: Person, tenant_id: int) -> bool:
    """Whether `check_submit` would pass."""
    return can_capability(user, tenant_id, Capability.SUBMIT_RUN)


def check_view_run(user: Person, run: Run) -> None:
    """A submitter sees their own runs, and whoever may view all runs sees the tenant's.

    Raises:
        NotVisible: everybody else. A run that one may not see does not exist.
    """
    membership = membership_of(user, run.tenant_id)
    may = capabilities_of(membership.role) if membership is not None else frozenset()
    own = run.submitter_id == user.pk and Capability.VIEW_OWN_RUNS in may
    if not own and Capability.VIEW_ALL_RUNS not in may:
        raise NotVisible


def can_view_run(user: Person, run: Run) -> bool:
    """Whether `check_view_run` would pass."""
    return _passes(check_view_run, user, run)


def check_cancel(user: Person, run: Run) -> None:
    """A submitter may cancel their own runs; an admin any of the tenant's.

    Raises:
        NotVisible: the run is not theirs to see.
        NotAllowed: they see it and may not cancel it.
    """
    check_view_run(user, run)
    own = run.submitter_id == user.pk and can_capability(user, run.tenant_id, Capability.SUBMIT_RUN)
    if not own and not can_capability(user, run.tenant_id, Capability.CANCEL_ANY_RUN):
        raise NotAllowed("Only the person who submitted this run, or an admin of the tenant, may cancel it.")


def can_cancel(user: Person, run: Run) -> bool:
    """Whether `check_cancel` would pass."""
    return _passes(check_cancel, user, run)


def visible_runs(user: Person, tenant_id: int) -> RunQuerySet:
    """The runs of a tenant that a person may see; none for a stranger."""
    membership = membership_of(user, tenant_id)
    may = capabilities_of(membership.role) if membership is not None else frozenset()
    runs = Run.objects.in_tenant(tenant_id)
    if Capability.VIEW_ALL_RUNS in may:
        return runs
    if Capability.VIEW_OWN_RUNS in may:
        return runs.submitted_by(cast("User", user))
    return runs.none()


def _passes(check: object, user: Person, run: Run) -> bool:
    try:
        check(user, run)  # type: ignore[operator]
    except TenancyError:
        return False
    return True
