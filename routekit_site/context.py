"""What every page knows beyond the person: how many calls wait, what is contained, how the person wants to work."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from approvals import containment, desk, pages
from routekit_site.tenancy.models import User
from routekit_site.tenancy.roles import Capability, capabilities_of


def header(request: HttpRequest) -> dict[str, Any]:
    """`pending_count` and `contained` for those who open the queue, `personal` for all; read where they are shown."""
    membership = getattr(request, "membership", None)
    user = getattr(request, "user", None)
    personal = SimpleLazyObject(lambda: desk.settings_of(user)) if isinstance(user, User) else None
    if membership is None or Capability.VIEW_QUEUE not in capabilities_of(membership.role):
        return {"pending_count": None, "contained": None, "personal": personal}
    return {
        "pending_count": SimpleLazyObject(pages.waiting(membership.tenant_id).count),
        "contained": SimpleLazyObject(lambda: containment.in_force(request.user, membership.tenant_id)),
        "personal": personal,
    }
