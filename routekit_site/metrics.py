"""Metrics for Prometheus at `/metrics`: what waits, how long decisions take, where runs stand, what was stopped.

Figures of the whole site are counted in the database when they are asked for, so any one web process tells them; what a
process knows of itself (the live feed's delay) stands beside them. Nothing here names a person or holds content.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from datetime import datetime, timedelta
from math import ceil

from django.conf import settings
from django.db.models import Count, Min
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.models import Run
from agents.states import RUN_FINISHED
from approvals.models import ApprovalGate
from routekit_site.health import findings
from routekit_site.tenancy import slow_queries
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.heartbeats import SWEEP, last_sign, redaction_failures
from routekit_site.tenancy.models import Tenant
from traces import meters
from traces.queries import violations_since

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
_QUANTILES = (0.5, 0.95)
_MOST_DECISIONS = 5000


class SiteCollector(Collector):
    """Counts in the database at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """All figures of the site, at one moment."""
        now = database_now()
        yield from _queue(now)
        yield _decisions(now)
        yield from _runs(now)
        yield _violations(now)
        yield _failed_redactions(now)
        yield from _health(now)


def _queue(now: datetime) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("routekit_gates_pending", "Tool calls that wait for a person", labels=["tenant"])
    oldest = GaugeMetricFamily(
        "routekit_gate_oldest_age_seconds", "Age of the tenant's oldest waiting tool call", labels=["tenant"]
    )
    pending = ApprovalGate.objects.pending().values("tenant__slug").order_by("tenant__slug")
    for row in pending.annotate(count=Count("id"), first=Min("opened_at")):
        waiting.add_metric([row["tenant__slug"]], row["count"])
        oldest.add_metric([row["tenant__slug"]], max(0.0, (now - row["first"]).total_seconds()))
    yield waiting
    yield oldest


def _decisions(now: datetime) -> Metric:
    """Nearest-rank quantiles over the last hour's newest decisions of all tenants."""
    family = GaugeMetricFamily(
        "routekit_gate_decision_seconds", "Time from asking to deciding, over the last hour", labels=["quantile"]
    )
    decided = ApprovalGate.objects.filter(decided_at__gt=now - HOUR).order_by("-decided_at")
    times = decided.values_list("opened_at", "decided_at")[:_MOST_DECISIONS]
    seconds = sorted((at - opened).total_seconds() for opened, at in times if at is not None)
    for quantile in _QUANTILES if seconds else ():
        family.add_metric([str(quantile)], seconds[ceil(quantile * len(seconds)) - 1])
    return family


def _runs(now: datetime) -> Iterator[Metric]:
    present = GaugeMetricFamily("routekit_runs", "Runs that have not finished, by state", labels=["state"])
    ended = GaugeMetricFamily("routekit_runs_finished_last_day", "Runs finished in 24 h, by state", labels=["state"])
    alive = Run.objects.exclude(state__in=RUN_FINISHED).values("state").order_by("state")
    for row in alive.annotate(count=Count("id")):
        present.add_metric([row["state"]], row["count"])
    finished = Run.objects.filter(finished_at__gt=now - DAY).values("state").order_by("state")
    for row in finished.annotate(count=Count("id")):
        ended.add_metric([row["state"]], row["count"])
    yield present
    yield ended


def _violations(now: datetime) -> Metric:
    family = GaugeMetricFamily(
        "routekit_sandbox_violations_last_day", "Attempts that the sandbox stopped in 24 h", labels=["tenant"]
    )
    for slug, count in violations_since(now - DAY).items():
        family.add_metric([slug], count)
    return family


def _failed_redactions(now: datetime) -> Metric:
    family = GaugeMetricFamily(
        "routekit_redaction_failed_last_day",
        "1 where a tenant's value could not be redacted in 24 h",
        labels=["tenant"],
    )
    failed = redaction_failures(now - DAY)
    for slug in Tenant.objects.filter(pk__in=failed).order_by("slug").values_list("slug", flat=True):
        family.add_metric([slug], 1)
    return family


def _health(now: datetime) -> Iterator[Metric]:
    checks = GaugeMetricFamily("routekit_check_ok", "1 where a check of /readyz passes, else 0", labels=["check"])
    for finding in findings():
        checks.add_metric([finding.name], 1 if finding.ok else 0)
    yield checks
    sign = last_sign(SWEEP, now)
    if sign is not None:
        yield GaugeMetricFamily("routekit_sweep_age_seconds", "Age of the last sweep", value=sign.age)


_REGISTRY = CollectorRegistry()
_REGISTRY.register(SiteCollector())
meters.register(_REGISTRY)
slow_queries.register(_REGISTRY)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The figures, for whoever brings the token of `ROUTEKIT_METRICS_TOKEN`; without one set there is no such page."""
    expected = settings.ROUTEKIT_METRICS_TOKEN
    if not expected:
        raise Http404
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), expected.encode()):
        answer = HttpResponse("Bring the token of ROUTEKIT_METRICS_TOKEN as a bearer token.\n", status=401)
        answer["WWW-Authenticate"] = "Bearer"
        answer["Content-Type"] = "text/plain"
        return answer
    return HttpResponse(generate_latest(_REGISTRY), content_type=CONTENT_TYPE_LATEST)
