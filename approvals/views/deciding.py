"""Deciding and undoing. Access first, then one domain call; what is in the way is said."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import resolve_url
from django.views.decorators.http import require_POST

from approvals import gates, pages
from approvals.errors import (
    AlreadyDecided,
    AlreadyVoted,
    ApprovalError,
    BadBallot,
    Expired,
    GateMoved,
    HoldOver,
    KeyReused,
    NoSigningKey,
    NothingToUndo,
    StaleView,
    Tampered,
)
from approvals.forms import DecisionForm
from approvals.models import ApprovalGate, Decision, DecisionKind
from approvals.types import Risk
from approvals.views.finding import gate_for, note_refusal, refused, sent_of
from routekit_site.tenancy import faults
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.limits import Rate, check_rate
from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.reauthentication import check_reauthenticated
from routekit_site.tenancy.responses import signed_in, wants_json

_CONFLICTS = (
    AlreadyDecided,
    AlreadyVoted,
    Expired,
    GateMoved,
    HoldOver,
    KeyReused,
    NothingToUndo,
    StaleView,
    Tampered,
)


@require_POST
@signed_in
def decide(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Approve, reject or answer. A plain form goes back to the gate's page; a script gets the new state as JSON."""
    found = gate_for(request, gate_id, gates.check_decide, sent_of(request))
    form = DecisionForm(request.POST, gate=found)
    if not form.is_valid():
        return refused(request, found, 422, form.problem())
    if form.cleaned_data["kind"] == DecisionKind.APPROVE:
        # A rejection is never held up: neither by a count nor by a question.
        check_rate(request, Rate.DECIDE)
        if found.risk == Risk.HIGH:
            check_reauthenticated(request)
    try:
        with transaction.atomic(durable=True):
            faults.after_commit("decide.after_commit")
            decision = gates.decide(gate_id, request.user, form.ballot(), now=database_now())
            faults.point("decide.before_commit")
    except (NotVisible, NotAllowed) as error:
        note_refusal(request.user, found, sent_of(request), error)
        raise
    except ApprovalError as error:
        return _decision_failed(request, found, error)
    return _decided(request, decision)


def _decided(request: TenantRequest, decision: Decision) -> HttpResponse:
    found = decision.gate
    found.refresh_from_db()
    if not wants_json(request):
        return HttpResponseRedirect(resolve_url("gate", found.id))
    held = found.hold_until if found.hold_until and found.hold_until > database_now() else None
    undo = resolve_url("undo", found.id) if held else None
    message = f"{pages.decided_word(decision.kind).capitalize()}: {found.tool}."
    if found.state == "pending":
        message = f"Your approval counts. {found.tool} waits for somebody else's."
    return JsonResponse({"state": found.state, "hold_until": held, "undo": undo, "message": message})


def _decision_failed(request: TenantRequest, found: ApprovalGate, error: ApprovalError) -> HttpResponse:
    """Say what was in the way: 409 for what has changed meanwhile, with the winner; 422 for what was sent."""
    found.refresh_from_db()
    if isinstance(error, _CONFLICTS):
        note_refusal(request.user, found, sent_of(request), error)
    if isinstance(error, AlreadyDecided):
        told = {"winner": error.winner, "decided_at": error.at}
        return refused(request, found, 409, str(error), **told)
    if isinstance(error, _CONFLICTS):
        return refused(request, found, 409, str(error))
    if isinstance(error, BadBallot):
        return refused(request, found, 422, str(error))
    if isinstance(error, NoSigningKey):
        return refused(request, found, 503, str(error))
    raise error


@require_POST
@signed_in
def undo(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Take a decision back, inside its hold."""
    found = gate_for(request, gate_id, gates.check_undo, sent_of(request, "undo"))
    try:
        with transaction.atomic(durable=True):
            found = gates.undo(gate_id, request.user, now=database_now())
    except ApprovalError as error:
        return _decision_failed(request, found, error)
    if wants_json(request):
        return JsonResponse({"state": found.state})
    return HttpResponseRedirect(resolve_url("gate", gate_id))


@require_POST
@signed_in
def withdraw(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """The submitter takes the request for one call back."""
    found = gate_for(request, gate_id, gates.check_take_back, sent_of(request, "withdraw"))
    try:
        with transaction.atomic(durable=True):
            found = gates.take_back(gate_id, request.user, now=database_now())
    except ApprovalError as error:
        return _decision_failed(request, found, error)
    if wants_json(request):
        return JsonResponse({"state": found.state})
    return HttpResponseRedirect(pages.way_back(found, request.POST.get("back", "")))
