"""Making a rule from an approval. Access first, then one domain call."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from approvals import pages, rules
from approvals.errors import BadRule
from approvals.forms import RememberForm
from approvals.models import ApprovalGate
from approvals.views.finding import gate_page, visible_gate
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.responses import signed_in


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def remember(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """Make a rule from an approval: three proposals, each with what it would have passed in the last 30 days."""
    found = visible_gate(request, gate_id)
    try:
        rules.check_remember(request.user, found)
    except BadRule as error:
        return gate_page(request, found, 409, problem=str(error))
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
        "reach": request.POST.get("reach", request.GET.get("reach", "")),
        "proposals": rules.proposals(found, now=database_now(), scope=scope),
        "problem": problem_text,
        "place": "queue",
    }
    return render(request, "approvals/remember.html", facts, status=422 if request.method == "POST" else 200)
