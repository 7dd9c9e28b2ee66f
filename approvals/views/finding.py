"""What the views of the queue share: who may come in, the gate that an address names, and the page of one call."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render

from approvals import gates, pages
from approvals.ballots import MAX_ANSWER
from approvals.models import ApprovalGate
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.limits import Rate, check_rate
from routekit_site.tenancy.middleware import TenantRequest, current_membership
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.responses import problem, wants_json
from routekit_site.tenancy.roles import Capability
from traces import live
from traces.pasted_secrets import without_secrets


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


def gate_for(
    request: TenantRequest, gate_id: uuid.UUID, check: Callable[[User, ApprovalGate], object], sent: Mapping[str, str]
) -> ApprovalGate:
    """The gate, when `check` lets the person at it; whoever it refuses is put on record with what they `sent`."""
    gate = ApprovalGate.objects.filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    try:
        check(request.user, gate)
    except (NotVisible, NotAllowed) as error:
        if request.method == "POST":
            # Whoever may not decide can't fill the ledger with it either.
            check_rate(request, Rate.DECIDE)
            note_refusal(request.user, gate, sent, error)
        raise
    return gate


def note_refusal(user: User, gate: ApprovalGate, sent: Mapping[str, str], error: Exception) -> None:
    """Put a refused decision on record, in a transaction of its own."""
    with transaction.atomic(durable=True):
        gates.refuse_decision(gate, user, sent, error, now=database_now())


def sent_of(request: TenantRequest, kind: str = "") -> dict[str, str]:
    """What of a form is kept when it is refused: what was to be done, and which call and view the page showed."""
    asked = {"kind": kind or request.POST.get("kind", ""), "sent_digest": request.POST.get("digest", "")}
    asked["sent_view_digest"] = request.POST.get("view_digest", "")
    return {name: value[:64] for name, value in asked.items()}


def gate_page(request: TenantRequest, found: ApprovalGate, status: int = 200, **more: Any) -> HttpResponse:
    template = "approvals/_gate.html" if request.GET.get("part") else "approvals/gate.html"
    # The feed of the call's own tenant, which need not be the one chosen in the header; its number before the rest.
    feed = {"feed_tenant": found.tenant_id, "feed_number": live.latest_number(found.tenant_id)}
    facts = pages.gate_page(found, request.user, database_now())
    return render(request, template, facts | feed | more, status=status)


def refused(request: TenantRequest, found: ApprovalGate, status: int, message: str, **facts: Any) -> HttpResponse:
    if wants_json(request):
        return problem(status, message, state=found.state, **facts)
    # What was typed stays in the form; a key that was typed doesn't.
    typed = {name: without_secrets(request.POST.get(name, "")[:MAX_ANSWER]) for name in ("reason", "answer", "words")}
    return gate_page(request, found, status, problem=message, **typed)
