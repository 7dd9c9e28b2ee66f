"""What every page knows beyond the person: how many calls wait, and which tools were taken out of use."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from approvals import containment, pages
from routekit_site.tenancy.roles import Capability, capabilities_of


def header(request: HttpRequest) -> dict[str, Any]:
    """`pending_count` and `contained` for those who open the queue; asked for only where a template shows them."""
    membership = getattr(request, "membership", None)
    if membership is None or Capability.VIEW_QUEUE not in capabilities_of(membership.role):
        return {"pending_count": None, "contained": None}
    return {
        "pending_count": SimpleLazyObject(pages.waiting(membership.tenant_id).count),
        "contained": SimpleLazyObject(lambda: containment.in_force(request.user, membership.tenant_id)),
    }
