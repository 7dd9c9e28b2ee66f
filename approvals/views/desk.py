"""What a person arranges for themselves: settings, saved filters, snoozed calls. Access first, then one domain call."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render, resolve_url
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from approvals import desk
from approvals.desk_forms import SettingsForm, zones
from approvals.errors import BadFilter
from approvals.views.finding import reviewer, visible_gate
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.responses import problem, signed_in, wants_json


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def personal_settings(request: TenantRequest) -> HttpResponse:
    """The person's own settings; nobody else's can be named."""
    form = SettingsForm(request.POST or None, instance=desk.settings_of(request.user))
    if form.is_valid():
        with transaction.atomic(durable=True):
            form.save()
        messages.success(request, "Saved.")
        return HttpResponseRedirect(resolve_url("settings"))
    facts = {
        "form": form,
        "zones": zones(),
        "email": request.user.email,
        "sends_email": settings.ROUTEKIT_SENDS_EMAIL,
        "place": "settings",
    }
    return render(request, "approvals/settings.html", facts, status=422 if form.is_bound else 200)


@require_POST
@signed_in
def single_keys(request: TenantRequest) -> HttpResponse:
    """Switch single-key shortcuts on or off, from the sheet of keys on any page."""
    with transaction.atomic(durable=True):
        desk.set_single_keys(request.user, on=request.POST.get("on") == "yes")
    return JsonResponse({"on": request.POST.get("on") == "yes"})


@require_POST
@signed_in
def snooze(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Keep a call out of one's own list for an hour, or take that back (`on=no`)."""
    found = visible_gate(request, gate_id)
    reviewer(request)
    until = None
    with transaction.atomic(durable=True):
        if request.POST.get("on") == "no":
            desk.wake(request.user, found)
        else:
            until = desk.snooze(request.user, found, database_now() + desk.SNOOZE_FOR).until
    return JsonResponse({"asleep_until": until}) if wants_json(request) else HttpResponseRedirect(resolve_url("queue"))


@require_POST
@signed_in
def save_filter(request: TenantRequest) -> HttpResponse:
    """Save the filter above the list under a name."""
    membership = reviewer(request)
    wanted = desk.QueueFilter(request.POST.get("q", ""), request.POST.get("risk", ""))
    try:
        with transaction.atomic(durable=True):
            saved = desk.save_filter(request.user, membership.tenant_id, request.POST.get("name", ""), wanted)
    except BadFilter as error:
        if wants_json(request):
            return problem(422, str(error))
        messages.error(request, str(error))
        return HttpResponseRedirect(_filtered(wanted))
    if wants_json(request):
        return JsonResponse({"id": str(saved.pk), "name": saved.name, "q": saved.q, "risk": saved.risk})
    return HttpResponseRedirect(_filtered(desk.QueueFilter(saved.q, saved.risk)))


def _filtered(wanted: desk.QueueFilter) -> str:
    """The queue's address under a filter."""
    return f"{resolve_url('queue')}?{urlencode({'q': wanted.q[:200], 'risk': wanted.risk[:10]})}"


@require_POST
@signed_in
def delete_filter(request: TenantRequest, filter_id: uuid.UUID) -> HttpResponse:
    """Forget one of one's own filters."""
    membership = reviewer(request)
    with transaction.atomic(durable=True):
        deleted = desk.delete_filter(request.user, membership.tenant_id, filter_id)
    if not deleted:
        raise NotVisible
    return JsonResponse({"deleted": True}) if wants_json(request) else HttpResponseRedirect(resolve_url("queue"))
