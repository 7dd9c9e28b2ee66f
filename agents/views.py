"""The job pages: a new job, the list, one run, a waiting call's editor. Access first, then one domain call."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import pages, replay, runs
from agents.errors import AgentError, FormReused, NotEditable, RunFinished
from agents.forms import EditForm, NewJobForm
from agents.models import Agent, Run, RunQuerySet
from agents.runs import Field
from agents.states import RUN_FINISHED
from approvals import gates
from approvals.errors import ApprovalError, BadBallot, BadEdit, NotPresentable
from approvals.masking import starred
from approvals.models import ApprovalGate
from approvals.states import GateState
from approvals.views.finding import gate_for, note_refusal, sent_of
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.limits import Rate, check_rate
from routekit_site.tenancy.middleware import TenantRequest, current_membership
from routekit_site.tenancy.responses import problem, signed_in, wants_json
from routekit_site.tenancy.roles import Capability, capabilities_of
from traces import live
from traces.pasted_secrets import refusal, without_secrets
from traces.timeline import run_timeline


@dataclass(frozen=True)
class Filters:
    """What the list of jobs is narrowed to."""

    q: str = ""
    state: str = ""
    agent: int | None = None
    mine: bool = False

    def narrow(self, found: RunQuerySet, request: TenantRequest) -> RunQuerySet:
        """The runs that stay."""
        if self.q:
            found = found.filter(prompt_redacted__icontains=self.q)
        if self.state:
            found = found.filter(state=self.state)
        if self.agent is not None:
            found = found.filter(agent_id=self.agent)
        return found.submitted_by(request.user) if self.mine else found

    def query(self) -> str:
        """As the query of an address."""
        chosen = {key: value for key, value in asdict(self).items() if value}
        return urlencode(chosen | ({"mine": 1} if self.mine else {}))


def _filters(request: TenantRequest) -> Filters:
    asked = request.GET
    agent = asked.get("agent", "")
    return Filters(
        q=asked.get("q", "").strip().replace("\0", "")[:200],
        state=asked.get("state", "") if asked.get("state", "") in pages.run_states() else "",
        agent=int(agent) if agent.isascii() and agent.isdigit() and len(agent) < 10 else None,  # noqa: PLR2004 - an id fits
        mine=asked.get("mine") == "1",
    )


def _page(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0  # noqa: PLR2004 - 9999 pages at most


@require_safe
@never_cache
@signed_in
def jobs(request: TenantRequest) -> HttpResponse:
    """The runs that the person may see, newest first."""
    membership = current_membership(request)
    feed_number = live.latest_number(membership.tenant_id)
    filters = _filters(request)
    page = _page(request.GET.get("page", ""))
    start = page * pages.PAGE
    visible = filters.narrow(runs.visible_runs(request.user, membership.tenant_id), request).newest_first()
    found = list(visible.select_related("agent", "submitter")[start : start + pages.PAGE + 1])
    facts = {
        "feed_number": feed_number,
        "runs": found[: pages.PAGE],
        "more": len(found) > pages.PAGE,
        "next_page": f"{filters.query()}&page={page + 1}".lstrip("&"),
        "filters": filters,
        "filtered": filters != Filters() or page > 0,
        "states": pages.run_states(),
        "agents": Agent.objects.in_tenant(membership.tenant_id).order_by("name"),
        "sees_all": Capability.VIEW_ALL_RUNS in capabilities_of(membership.role),
        "place": "jobs",
    }
    return render(request, "agents/jobs.html", facts)


@sensitive_post_parameters("prompt")
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def new_job(request: TenantRequest) -> HttpResponse:
    """The form for a new job; what was typed stays in it when something is wrong."""
    tenant_id = current_membership(request).tenant_id
    runs.check_submit(request.user, tenant_id)
    if request.method != "POST":
        return _job_form(request, tenant_id, NewJobForm(tenant_id=tenant_id))
    form = NewJobForm(request.POST, tenant_id=tenant_id)
    if not form.is_valid():
        return _job_form(request, tenant_id, form, 422)
    check_rate(request, Rate.SUBMIT)
    try:
        run = _submit(request, tenant_id, form.cleaned_data)
    except AgentError as error:
        # A key that was used up is replaced by the error's being its own.
        form.add_error("idempotency_key" if isinstance(error, FormReused) else None, str(error))
        return _job_form(request, tenant_id, form, 422)
    return HttpResponseRedirect(resolve_url("run", run.id))


def _submit(request: TenantRequest, tenant_id: int, data: dict[str, Any]) -> Run:
    with transaction.atomic(durable=True):
        return runs.submit(
            tenant_id=tenant_id,
            user=request.user,
            agent_id=data["agent"].pk,
            prompt=data["prompt"],
            idempotency_key=data["idempotency_key"],
            now=database_now(),
        )


def _job_form(request: TenantRequest, tenant_id: int, form: NewJobForm, status: int = 200) -> HttpResponse:
    now = database_now()
    chosen = request.POST.get("agent", request.GET.get("agent", ""))
    # The same key again, so that a form sent twice across a mistake is still one run; a fresh one where it was no key.
    kept = form.is_bound and "idempotency_key" not in form.errors
    facts = {
        "form": form,
        "key": form["idempotency_key"].value() if kept else uuid.uuid4().hex,
        "agents": pages.agent_cards(tenant_id, chosen, now),
        "wait": pages.wait_words(tenant_id, now),
        "place": "new-job",
    }
    return render(request, "agents/new_job.html", facts, status=status)


def _run(request: TenantRequest, run_id: uuid.UUID) -> Run:
    """The run, when the person may see it."""
    found = Run.objects.select_related("agent", "submitter").filter(pk=run_id).first()
    if found is None:
        raise NotVisible
    runs.check_view_run(request.user, found)
    return found


@require_safe
@never_cache
@signed_in
def run(request: TenantRequest, run_id: uuid.UUID) -> HttpResponse:
    """One run: where it stands, its transcript, its timeline."""
    found = _run(request, run_id)
    feed = {"feed_tenant": found.tenant_id, "feed_number": live.latest_number(found.tenant_id)}
    found.refresh_from_db()
    more = {
        "can_cancel": _can_cancel(request, found),
        "can_replay": found.state in RUN_FINISHED and replay.can_replay(request.user, found),
        "timeline": run_timeline(found.id),
    }
    return render(request, "agents/run.html", pages.run_page(found, request.user) | feed | more)


def _can_cancel(request: TenantRequest, found: Run) -> bool:
    open_still = found.state not in RUN_FINISHED and found.cancel_requested_at is None
    return open_still and runs.can_cancel(request.user, found)


@require_safe
@never_cache
@signed_in
def run_data(request: TenantRequest, run_id: uuid.UUID) -> HttpResponse:
    """One run as JSON: where it stands, its steps (redacted) and what it waits for."""
    return JsonResponse(pages.run_facts(_run(request, run_id), request.user))


@require_POST
@signed_in
def cancel_run(request: TenantRequest, run_id: uuid.UUID) -> HttpResponse:
    """Ask for a run's end: what waits is withdrawn, what runs is stopped."""
    found = _run(request, run_id)
    runs.check_cancel(request.user, found)
    try:
        with transaction.atomic(durable=True):
            runs.cancel(run_id, request.user, now=database_now())
    except RunFinished as error:
        if wants_json(request):
            return problem(409, str(error), state=found.state)
        messages.warning(request, str(error))
        return HttpResponseRedirect(resolve_url("run", run_id))
    if wants_json(request):
        return JsonResponse({"state": _run(request, run_id).state})
    return HttpResponseRedirect(resolve_url("run", run_id))


_ARGUMENT = "argument-"


def _gate(request: TenantRequest, gate_id: uuid.UUID) -> ApprovalGate:
    """The gate, when the person may decide it."""
    return gate_for(request, gate_id, gates.check_decide, sent_of(request, "edit"))


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@signed_in
def edit_call(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """The editor of a waiting call's arguments; what was typed stays in it when something is wrong."""
    gate = _gate(request, gate_id)
    try:
        if request.method == "POST":
            return _edited(request, gate)
        if gate.state != GateState.PENDING:
            raise NotEditable
        return _editor(request, gate)
    except (ApprovalError, AgentError) as error:
        if request.method == "POST":
            note_refusal(request.user, gate, sent_of(request, "edit"), error)
        if wants_json(request):
            return problem(409, str(error))
        facts = {"gate": gate, "view": gate.presentation, "problem": str(error), "closed": True, "place": "queue"}
        return render(request, "agents/edit_call.html", facts, status=409)


def _edited(request: TenantRequest, gate: ApprovalGate) -> HttpResponse:
    """Take an edit: the new gate's page, or the editor again with what is wrong at its field."""
    form = EditForm(request.POST)
    if not form.is_valid():
        return _editor(request, gate, BadEdit(form.problem()))
    texts = {key.removeprefix(_ARGUMENT): str(text) for key, text in request.POST.items() if key.startswith(_ARGUMENT)}
    amendment = runs.amendment_of(gate, form.cleaned_data, texts)
    opened = runs.earlier_edit(gate, request.user, amendment)
    if opened is None:
        try:
            gates.check_amendment(gate, request.user, amendment, now=database_now())
            revision = runs.revise(runs.open_draft(gate), request.user, amendment, texts, now=database_now())
            with transaction.atomic(durable=True):
                opened = runs.replace(revision, now=database_now())
        except (BadEdit, BadBallot, NotPresentable) as error:
            return _editor(request, gate, error)
    if wants_json(request):
        return JsonResponse({"gate": str(opened.pk), "url": resolve_url("gate", opened.pk)})
    return HttpResponseRedirect(resolve_url("gate", opened.pk))


def _typed(sent: QueryDict, field: Field) -> str:
    """An argument as the editor shows it again; a key that was typed into it is taken out."""
    text = sent.get(f"{_ARGUMENT}{field.name}", field.text)
    return without_secrets(text, starred(text)) if refusal(starred(text), known=field.text) else text


def _editor(request: TenantRequest, gate: ApprovalGate, error: ApprovalError | None = None) -> HttpResponse:
    where = error.field if isinstance(error, BadEdit) else ""
    if error is not None and wants_json(request):
        return problem(422, str(error), field=where)
    sent = request.POST
    fields = [
        {
            "name": each.name,
            "key": f"{_ARGUMENT}{each.name}",
            "text": _typed(sent, each),
            "is_text": each.is_text,
            "rows": each.rows,
            "error": str(error) if error is not None and where == each.name else "",
        }
        for each in runs.open_draft(gate).fields()
    ]
    facts = {
        "gate": gate,
        "view": gate.presentation,
        "fields": fields,
        "problem": str(error) if error is not None and not any(each["error"] for each in fields) else "",
        "digest": sent.get("digest", gate.digest),
        "view_digest": sent.get("view_digest", gate.view_digest),
        "key": sent.get("idempotency_key") or uuid.uuid4().hex,
        "reason": without_secrets(sent.get("reason", "")[:4000]),
        "place": "queue",
    }
    return render(request, "agents/edit_call.html", facts, status=200 if error is None else 422)
