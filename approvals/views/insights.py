"""How approvals went lately: figures, charts, and what a rule would spare. Access first, then one domain call."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from approvals.insight_pages import insights_page
from approvals.views.finding import reviewer
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.responses import signed_in


@require_safe
@never_cache
@signed_in
def insights(request: TenantRequest) -> HttpResponse:
    """The insights page of the current tenant."""
    membership = reviewer(request)
    return render(request, "approvals/insights.html", insights_page(membership, request.user, database_now()))
