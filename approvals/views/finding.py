"""What the views of the queue share: who may come in, the gate that an address names, and the page of one call."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from approvals import gates, pages
from approvals.models import ApprovalGate
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.middleware import TenantRequest, current_membership
from routekit_site.tenancy.models import Membership
from routekit_site.tenancy.responses import problem, wants_json
from routekit_site.tenancy.roles import Capability
from traces import live


def reviewer(request: TenantRequest) -> Membership:
    """The current membership, when it opens the queue."""
    tenant_id = current_membership(request).tenant_id
    return check_capability(request.user, tenant_id, Capability.VIEW_QUEUE)


def visible_gate(request: TenantRequest, gate_id: uuid.UUID) -> ApprovalGate:
    """The gate, when the person may see it."""
    gate = ApprovalGate.objects.filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    gates.check_view_gate(request.user, gate)
    return gate


def gate_page(request: TenantRequest, found: ApprovalGate, status: int = 200, **more: Any) -> HttpResponse:
    template = "approvals/_gate.html" if request.GET.get("part") else "approvals/gate.html"
    # The feed of the call's own tenant, which need not be the one chosen in the header; its number before the rest.
    feed = {"feed_tenant": found.tenant_id, "feed_number": live.latest_number(found.tenant_id)}
    facts = pages.gate_page(found, request.user, database_now())
    return render(request, template, facts | feed | more, status=status)


def refused(request: TenantRequest, found: ApprovalGate, status: int, message: str, **facts: Any) -> HttpResponse:
    if wants_json(request):
        return problem(status, message, state=found.state, **facts)
    typed = request.POST.get("reason", "")[:4000]
    return gate_page(request, found, status, problem=message, reason=typed)
