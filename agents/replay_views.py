"""The page of a run's replay: what a replay without effect finds, and live replays. Access first."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from agents import replay
from agents.errors import AgentError
from agents.models import LiveReplay, Run
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.responses import signed_in
from routekit_site.tenancy.roles import Capability
from traces.replay import tenant_of

_SHOWN = 20
_GONE = (
    "The run that this trace was made of is gone, and with it its agent and its recorded replies: nothing is left "
    "that could be replayed. The trace itself can still be read in the admin."
)


def _run(run_id: uuid.UUID) -> Run | None:
    return Run.objects.select_related("agent", "submitter").filter(pk=run_id).first()


@require_safe
@never_cache
@signed_in
def replay_run(request: TenantRequest, run_id: uuid.UUID) -> HttpResponse:
    """Replay a run without any effect and show where it parts from what was recorded."""
    run = _run(run_id)
    if run is None:
        return _gone(request, run_id)
    replay.check_replay(request.user, run)
    facts: dict[str, Any] = {"run": run, "place": "jobs", "can_live": replay.can_replay_live(request.user, run)}
    now = database_now()
    try:
        facts["report"] = replay.replay(run, now=now)
    except AgentError as error:
        facts["problem"] = str(error)
    facts["live"] = [_row(row, now) for row in _rows(run)]
    return render(request, "agents/replay.html", facts, status=409 if "problem" in facts else 200)


def _gone(request: TenantRequest, run_id: uuid.UUID) -> HttpResponse:
    """A trace without its run: whoever may read the trace is told so, for everybody else there is nothing here."""
    tenant_id = tenant_of(run_id)
    if tenant_id is None:
        raise NotVisible
    check_capability(request.user, tenant_id, Capability.VIEW_TRACES)
    return render(request, "agents/replay.html", {"problem": _GONE, "trace": run_id, "place": "jobs"}, status=410)


def _rows(run: Run) -> list[LiveReplay]:
    return list(LiveReplay.objects.filter(run=run).select_related("requested_by").order_by("-requested_at")[:_SHOWN])


def _row(row: LiveReplay, now: Any) -> dict[str, Any]:
    report = replay.Report.from_json(row.report) if row.report is not None else None
    return {"row": row, "report": report, "lost": replay.lost(row, now)}


@require_POST
@signed_in
def replay_live(request: TenantRequest, run_id: uuid.UUID) -> HttpResponse:
    """Have a run replayed with its model asked anew; a worker does it."""
    run = _run(run_id)
    if run is None:
        raise NotVisible
    replay.check_replay_live(request.user, run)
    with transaction.atomic(durable=True):
        replay.request(run, request.user, now=database_now())
    return HttpResponseRedirect(resolve_url("replay-run", run_id))
