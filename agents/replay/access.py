"""Who may replay a run. Pairs: `check_x` raises, `can_x` answers."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser

from agents.models import Run
from agents.runs.access import check_view_run
from routekit_site.tenancy.access import can_capability
from routekit_site.tenancy.errors import NotAllowed, TenancyError
from routekit_site.tenancy.models import User
from routekit_site.tenancy.roles import Capability

Person = User | AnonymousUser


def check_replay(user: Person, run: Run) -> None:
    """A submitter may replay their own runs, and whoever reads traces any of the tenant's.

    Raises:
        NotVisible: the run is not theirs to see.
        NotAllowed: they see it and may not replay it.
    """
    check_view_run(user, run)
    if run.submitter_id != user.pk and not can_capability(user, run.tenant_id, Capability.VIEW_TRACES):
        raise NotAllowed("Only the person who submitted this run, or an admin or auditor of the tenant, may replay it.")


def can_replay(user: Person, run: Run) -> bool:
    """Whether `check_replay` would pass."""
    try:
        check_replay(user, run)
    except TenancyError:
        return False
    return True


def check_replay_live(user: Person, run: Run) -> None:
    """A live replay asks the agent's model, which costs money: for those who could submit the job themselves.

    Raises:
        NotVisible: the run is not theirs to see.
        NotAllowed: they see it and may not have it replayed live.
    """
    check_replay(user, run)
    if not can_capability(user, run.tenant_id, Capability.SUBMIT_RUN):
        raise NotAllowed("A live replay asks the model, which costs money: only who may submit jobs may ask for one.")


def can_replay_live(user: Person, run: Run) -> bool:
    """Whether `check_replay_live` would pass."""
    try:
        check_replay_live(user, run)
    except TenancyError:
        return False
    return True
