"""What is done around a waiting call: claim it, see a masked value, talk about it. Access first, one domain call."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from approvals import claims, gates, pages, remarks, reveals
from approvals.errors import ApprovalError, BadBallot, NotWaiting
from approvals.models import RemarkKind
from approvals.rendering import visible
from approvals.views.finding import refused, visible_gate
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.limits import Rate, check_rate
from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.responses import signed_in, wants_json


def _status(error: ApprovalError) -> int:
    """422 for what was sent, 409 for what has changed meanwhile."""
    return 422 if isinstance(error, BadBallot) else 409


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def claim(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Who has claimed the call; a POST claims it or renews one's claim, `take=1` takes it over."""
    found = visible_gate(request, gate_id)
    if request.method != "POST":
        return JsonResponse(_claim_told(claims.holder(found, database_now()), request))
    gates.check_decide(request.user, found)
    take = request.POST.get("take") == "1"
    try:
        with transaction.atomic(durable=True):
            holder: claims.Holder | None = claims.claim(gate_id, request.user, take=take, now=database_now())
    except NotWaiting as error:
        if take:
            return refused(request, found, 409, str(error))
        # A heartbeat that comes after the decision is no mistake.
        holder = None
    if wants_json(request):
        return JsonResponse(_claim_told(holder, request))
    return HttpResponseRedirect(resolve_url("gate", gate_id))


@require_POST
@signed_in
def release(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Give one's claim up."""
    visible_gate(request, gate_id)
    with transaction.atomic(durable=True):
        claims.release(gate_id, request.user, now=database_now())
    if wants_json(request):
        return JsonResponse(_claim_told(None, request))
    return HttpResponseRedirect(resolve_url("gate", gate_id))


def _claim_told(holder: claims.Holder | None, request: TenantRequest) -> dict[str, Any]:
    if holder is None:
        return {"by": "", "mine": False, "until": None, "taken_from": ""}
    mine = holder.person_id == request.user.pk
    return {"by": holder.name, "mine": mine, "until": holder.until, "taken_from": holder.taken_from}


@sensitive_variables()
@require_POST
@never_cache
@signed_in
def reveal(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Show one masked value to the person who asked. The answer is for them alone and is stored by no cache."""
    found = visible_gate(request, gate_id)
    reveals.check_reveal(request.user, found)
    check_rate(request, Rate.DECIDE)
    mark, reason = request.POST.get("mark", "")[:64], request.POST.get("reason", "")
    try:
        with transaction.atomic(durable=True):
            shown = reveals.reveal(gate_id, request.user, mark, reason, now=database_now())
    except ApprovalError as error:
        return refused(request, found, _status(error), str(error))
    told = {"argument": shown.argument, "label": shown.label, "value": visible(shown.value)}
    if wants_json(request):
        return JsonResponse(told)
    return render(request, "approvals/revealed.html", told | {"gate": found, "place": "queue"})


@require_POST
@signed_in
def say(request: TenantRequest, gate_id: uuid.UUID, kind: str) -> HttpResponse:
    """Ask the submitter, answer, or leave a note."""
    if kind not in RemarkKind.values:
        raise NotVisible
    found = visible_gate(request, gate_id)
    remarks.check_remark(request.user, found, RemarkKind(kind))
    words, key = request.POST.get("words", ""), request.POST.get("idempotency_key", "")
    try:
        with transaction.atomic(durable=True):
            remark = remarks.say(gate_id, request.user, RemarkKind(kind), words, key=key, now=database_now())
    except ApprovalError as error:
        return refused(request, found, _status(error), str(error))
    if wants_json(request):
        return JsonResponse({"kind": remark.kind, "text": remark.text})
    return HttpResponseRedirect(pages.way_back(found, request.POST.get("back", "")))
