"""The review queue: rows, one call in full, deciding, undoing, remembering. Access first, then one domain call."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from approvals import gates, pages, rules
from approvals.errors import (
    AlreadyDecided,
    AlreadyVoted,
    ApprovalError,
    BadBallot,
    BadRule,
    Expired,
    GateMoved,
    HoldOver,
    KeyReused,
    NoSigningKey,
    NothingToUndo,
    StaleView,
    Tampered,
)
from approvals.forms import DecisionForm, RememberForm
from approvals.models import ApprovalGate, Decision
from approvals.types import Risk
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.middleware import TenantRequest, current_membership
from routekit_site.tenancy.models import Membership
from routekit_site.tenancy.responses import problem, signed_in, wants_json
from routekit_site.tenancy.roles import Capability
from traces import live

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


def _reviewer(request: TenantRequest) -> Membership:
    """The current membership, when it opens the queue."""
    tenant_id = current_membership(request).tenant_id
    return check_capability(request.user, tenant_id, Capability.VIEW_QUEUE)


def _gate(request: TenantRequest, gate_id: uuid.UUID) -> ApprovalGate:
    """The gate, when the person may see it."""
    gate = ApprovalGate.objects.filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    gates.check_view_gate(request.user, gate)
    return gate


def _limit(text: str) -> int:
    wanted = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(pages.MOST)) else pages.PAGE
    return max(1, min(wanted, pages.MOST))


@require_safe
@never_cache
@signed_in
def queue(request: TenantRequest) -> HttpResponse:
    """The queue's page."""
    membership = _reviewer(request)
    # Read before the rows: a gate that opens in between is then in the feed, not lost.
    feed_number = live.latest_number(membership.tenant_id)
    filters = pages.Filters(q=request.GET.get("q", "")[:200], risk=request.GET.get("risk", ""))
    limit = _limit(request.GET.get("limit", ""))
    found = pages.waiting(membership.tenant_id)
    total = found.count()
    rows = pages.rows(found[:limit], membership)
    facts = {
        "feed_number": feed_number,
        "rows": [row for row in rows if filters.passes(row)],
        "blank": pages.blank_row(database_now()),
        "total": total,
        "more": total > limit,
        "next_limit": min(limit + pages.PAGE, pages.MOST),
        "filters": filters,
        "risks": [risk.value for risk in reversed(Risk)],
        "last_decision": pages.last_decision(membership.tenant_id),
        "place": "queue",
        "pending_count": total,
    }
    return render(request, "approvals/queue.html", facts)


def _ids(texts: list[str]) -> list[uuid.UUID]:
    """The ids among `texts`; what is none names no gate."""
    found = []
    for text in texts[: pages.PAGE]:
        try:
            found.append(uuid.UUID(text))
        except ValueError:
            continue
    return found


@require_safe
@never_cache
@signed_in
def rows_data(request: TenantRequest) -> HttpResponse:
    """Rows as JSON: of the gates that `id` names, whatever their state, or of all that wait."""
    membership = _reviewer(request)
    waiting = pages.waiting(membership.tenant_id)
    named, limit = request.GET.getlist("id"), _limit(request.GET.get("limit", ""))
    found = pages.in_tenant(membership.tenant_id, _ids(named)) if named else waiting[:limit]
    rows = [row.as_json() for row in pages.rows(found, membership)]
    return JsonResponse({"rows": rows, "total": waiting.count()})


@require_safe
@never_cache
@signed_in
def gate_data(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """One gate as JSON: its row, why this person may not decide it, how it ended, and what a reviewer is shown."""
    found = _gate(request, gate_id)
    membership = gates.check_view_gate(request.user, found)
    (row,) = pages.rows([found], membership)
    page = pages.gate_page(found, request.user, database_now())
    told = {key: page[key] for key in ("why_not", "outcome", "approvers", "can_undo")}
    return JsonResponse({**row.as_json(), **told, "hold_until": found.hold_until, "presentation": found.presentation})


@require_safe
@never_cache
@signed_in
def gate(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """One call in full, on a page of its own; `?part=1` answers with the call alone, for the queue's pane."""
    found = _gate(request, gate_id)
    return _gate_page(request, found)


def _gate_page(request: TenantRequest, found: ApprovalGate, status: int = 200, **more: Any) -> HttpResponse:
    template = "approvals/_gate.html" if request.GET.get("part") else "approvals/gate.html"
    # The feed of the call's own tenant, which need not be the one chosen in the header; its number before the rest.
    feed = {"feed_tenant": found.tenant_id, "feed_number": live.latest_number(found.tenant_id)}
    facts = pages.gate_page(found, request.user, database_now())
    return render(request, template, facts | feed | more, status=status)


@require_POST
@signed_in
def decide(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Approve or reject. A plain form goes back to the gate's page; a script gets the new state as JSON."""
    found = _gate(request, gate_id)
    gates.check_decide(request.user, found)
    form = DecisionForm(request.POST, gate=found)
    if not form.is_valid():
        return _refused(request, found, 422, form.problem())
    try:
        with transaction.atomic(durable=True):
            decision = gates.decide(gate_id, request.user, form.ballot(), now=database_now())
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
    message = f"{'Approved' if decision.kind == 'approve' else 'Rejected'}: {found.tool}."
    if found.state == "pending":
        message = f"Your approval counts. {found.tool} waits for somebody else's."
    return JsonResponse({"state": found.state, "hold_until": held, "undo": undo, "message": message})


def _decision_failed(request: TenantRequest, found: ApprovalGate, error: ApprovalError) -> HttpResponse:
    """Say what was in the way: 409 for what has changed meanwhile, with the winner; 422 for what was sent."""
    found.refresh_from_db()
    if isinstance(error, AlreadyDecided):
        told = {"winner": error.winner, "decided_at": error.at}
        return _refused(request, found, 409, str(error), **told)
    if isinstance(error, _CONFLICTS):
        return _refused(request, found, 409, str(error))
    if isinstance(error, BadBallot):
        return _refused(request, found, 422, str(error))
    if isinstance(error, NoSigningKey):
        return _refused(request, found, 503, str(error))
    raise error


def _refused(request: TenantRequest, found: ApprovalGate, status: int, message: str, **facts: Any) -> HttpResponse:
    if wants_json(request):
        return problem(status, message, state=found.state, **facts)
    typed = request.POST.get("reason", "")[:4000]
    return _gate_page(request, found, status, problem=message, reason=typed)


@require_POST
@signed_in
def undo(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Take a decision back, inside its hold."""
    found = _gate(request, gate_id)
    gates.check_undo(request.user, found)
    try:
        with transaction.atomic(durable=True):
            found = gates.undo(gate_id, request.user, now=database_now())
    except ApprovalError as error:
        return _decision_failed(request, found, error)
    if wants_json(request):
        return JsonResponse({"state": found.state})
    return HttpResponseRedirect(resolve_url("gate", gate_id))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def remember(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Make a rule from an approval: three proposals, each with what it would have passed in the last 30 days."""
    found = _gate(request, gate_id)
    try:
        rules.check_remember(request.user, found)
    except BadRule as error:
        return _gate_page(request, found, 409, problem=str(error))
    form = RememberForm(request.POST or None)
    problem_text = ""
    if form.is_valid():
        try:
            with transaction.atomic(durable=True):
                rule = rules.make_rule(gate_id, request.user, form.choice(), now=database_now())
        except BadRule as error:
            problem_text = str(error)
        else:
            messages.success(request, f"Remembered: {rule.summary}.")
            return HttpResponseRedirect(resolve_url("gate", gate_id))
    return _remember_page(request, found, form, problem_text)


def _remember_page(request: TenantRequest, found: ApprovalGate, form: RememberForm, problem_text: str) -> HttpResponse:
    any_agent = request.POST.get("scope", request.GET.get("scope", "")) == rules.Scope.TENANT
    scope = rules.Scope.TENANT if any_agent else rules.Scope.AGENT
    facts = {
        "gate": found,
        "sentence": pages.sentence_of(found),
        "form": form,
        "scope": scope.value,
        "proposals": rules.proposals(found, now=database_now(), scope=scope),
        "problem": problem_text,
        "place": "queue",
    }
    return render(request, "approvals/remember.html", facts, status=422 if request.method == "POST" else 200)
