"""The review queue: its page, its rows, and one call in full. Access first, then one domain call."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from approvals import desk, gates, pages
from approvals.models import ApprovalGate
from approvals.types import Risk
from approvals.views.finding import gate_page, reviewer, visible_gate
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.responses import signed_in
from traces import live


def _limit(text: str, otherwise: int) -> int:
    wanted = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(pages.MOST)) else otherwise
    return max(1, min(wanted, pages.MOST))


@require_safe
@never_cache
@signed_in
def queue(request: TenantRequest) -> HttpResponse:
    """The queue's page: the first rows, and one call in full beside them. A script fetches the rest of the rows."""
    membership = reviewer(request)
    # Read before the rows: a gate that opens in between is then in the feed, not lost.
    feed_number = live.latest_number(membership.tenant_id)
    now = database_now()
    filters = pages.Filters(q=request.GET.get("q", "")[:200], risk=request.GET.get("risk", ""))
    limit = _limit(request.GET.get("limit", ""), pages.PAGE)
    found = pages.waiting(membership.tenant_id)
    total = found.count()
    asleep = desk.asleep(request.user, membership.tenant_id, now)
    # A filter looks through all of them, not only through those that fit on the page.
    rows = pages.rows(found[: pages.MOST if filters.narrow() else limit], membership, now, asleep)
    shown = [row for row in rows if filters.passes(row)]
    facts = {
        "feed_number": feed_number,
        "rows": shown,
        "blank": pages.blank_row(now),
        "total": total,
        "more": total > len(rows),
        "next_limit": min(limit + pages.PAGE, pages.MOST),
        "filters": filters,
        "saved": desk.saved_filters(request.user, membership.tenant_id),
        "risks": [risk.value for risk in reversed(Risk)],
        "last_decision": None if shown else pages.last_decision(membership.tenant_id),
        "place": "queue",
        "pending_count": total,
    }
    return render(request, "approvals/queue.html", facts | _first(request, shown, now))


def _first(request: TenantRequest, shown: list[pages.Row], now: datetime) -> dict[str, Any]:
    """What the right pane shows at once: the call that `gate` names, or else the first that is awake."""
    wanted = request.GET.get("gate", "")
    ids = [row.id for row in shown if row.asleep_until is None]
    first = wanted if any(row.id == wanted for row in shown) else next(iter(ids), None)
    found = ApprovalGate.objects.filter(pk=first).first() if first else None
    return {} if found is None else {**pages.gate_page(found, request.user, now), "first": first}


def _ids(texts: list[str]) -> list[uuid.UUID]:
    """The ids among `texts`; what is none names no gate."""
    found = []
    for text in texts[: pages.CHUNK]:
        try:
            found.append(uuid.UUID(text))
        except ValueError:
            continue
    return found


@require_safe
@never_cache
@signed_in
def rows_data(request: TenantRequest) -> HttpResponse:
    """Rows as JSON: of the gates that `id` names, whatever their state, or of those that wait, `after` one if asked."""
    membership = reviewer(request)
    waiting = pages.waiting(membership.tenant_id)
    named, after = _ids(request.GET.getlist("id")), _ids(request.GET.getlist("after"))
    limit = _limit(request.GET.get("limit", ""), pages.CHUNK)
    last = pages.in_tenant(membership.tenant_id, after).first() if after else None
    found = waiting.after(last) if last else waiting
    found = pages.in_tenant(membership.tenant_id, named) if "id" in request.GET else found[:limit]
    now = database_now()
    asleep = desk.asleep(request.user, membership.tenant_id, now)
    rows = [row.as_json() for row in pages.rows(found, membership, now, asleep)]
    return JsonResponse({"rows": rows, "total": waiting.count()})


@require_safe
@never_cache
@signed_in
def gate_data(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """One gate as JSON: its row, why this person may not decide it, how it ended, and what a reviewer is shown."""
    found = visible_gate(request, gate_id)
    membership = gates.check_view_gate(request.user, found)
    (row,) = pages.rows(ApprovalGate.objects.filter(pk=found.pk), membership, database_now())
    page = pages.gate_page(found, request.user, database_now())
    told = {key: page[key] for key in ("why_not", "outcome", "approvers", "can_undo")}
    told["said"] = [{"kind": each.kind, "by": each.by, "at": each.at, "text": each.text} for each in page["said"]]
    return JsonResponse({**row.as_json(), **told, "hold_until": found.hold_until, "presentation": found.presentation})


@require_safe
@never_cache
@signed_in
def gate(request: TenantRequest, gate_id: uuid.UUID) -> HttpResponse:
    """One call in full, on a page of its own; `?part=1` answers with the call alone, for the queue's pane."""
    found = visible_gate(request, gate_id)
    return gate_page(request, found)
