"""What every page knows of the person in front of it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from routekit_site.tenancy.halts import standing_in
from routekit_site.tenancy.roles import capabilities_of


def tenancy(request: HttpRequest) -> dict[str, Any]:
    """`membership`, `memberships`, `capabilities` (a set of names), `halts` and `demo` for the templates."""
    membership = getattr(request, "membership", None)
    return {
        "membership": membership,
        "memberships": getattr(request, "memberships", []),
        "capabilities": {c.value for c in capabilities_of(membership.role)} if membership else set(),
        "demo": settings.DEMO,
        "halts": SimpleLazyObject(lambda: standing_in(getattr(request, "memberships", []))) if membership else [],
    }
