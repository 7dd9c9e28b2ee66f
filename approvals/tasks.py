"""The tasks of this floor: telling people and other systems, and forgetting that they were told, and old calls.

Both are safe to run twice at once, and ignore what they don't know.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task

from approvals import notices, recorded_calls
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.outages import despite_outages
from routekit_site.tenancy.reconnecting import renew_connections


@shared_task(name="approvals.tasks.tell")
def tell(**_kwargs: Any) -> None:
    """Send what happened at the gates to those who want to know."""
    renew_connections()
    with despite_outages("telling people"):
        notices.tell(database_now)


@shared_task(name="approvals.tasks.forget_notices")
def forget_notices(**_kwargs: Any) -> None:
    """Empty the delivery log of what is two weeks old, and the record of calls of what nothing looks back to."""
    renew_connections()
    while notices.forget(database_now()):
        pass
    while recorded_calls.forget(database_now()):
        pass
