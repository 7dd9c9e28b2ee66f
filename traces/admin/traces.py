"""The list of traces and the page of one: step tree beside waterfall, every event with its payload."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from routekit_site.tenancy.access import can_capability, check_capability
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin, own_tenants
from routekit_site.tenancy.templatetags.screens import dollars, shown, words
from traces import queries
from traces.admin.filters import (
    AgentFilter,
    CostFilter,
    DecisionFilter,
    DurationFilter,
    ReviewerFilter,
    StateFilter,
    SubmitterFilter,
    ToolFilter,
)
from traces.admin.keyset import KeysetChangeList
from traces.analysis import analysis_of
from traces.comparison import divergences
from traces.downloads import as_file
from traces.export import LINK_LIFE, Export, Format, note, prepare, token
from traces.models import Trace
from traces.sealing import prompt_of, unsearchable
from traces.timeline import events_of_run, run_timeline
from traces.waterfall import duration_text

_GIST = 80
_PERIODS = (1, 7, 30)
_REVIEWED = 4 * 1024 * 1024
_NOTHING = SafeString("-")


class _TraceList(KeysetChangeList):
    time_field = "started_at"


def _listed(values: list[str]) -> SafeString:
    return format_html_join(", ", "{}", ((value,) for value in values)) if values else _NOTHING


@admin.register(Trace)
class TraceAdmin(TenantScopedAdmin):
    """Traces of the tenants whose traces the person may see. Nobody changes one, whatever the permissions."""

    view_capability = Capability.VIEW_TRACES
    list_display = (
        "job",
        "started",
        "status",
        "agent",
        "submitter_name",
        "tools_met",
        "decided",
        "reviewed_by",
        "took",
        "cost",
    )
    list_display_links = ("job",)
    list_filter = (
        StateFilter,
        AgentFilter,
        SubmitterFilter,
        ToolFilter,
        DecisionFilter,
        ReviewerFilter,
        DurationFilter,
        CostFilter,
        "started_at",
    )
    list_per_page = 50
    list_select_related = ("submitter",)
    search_fields = ("prompt",)
    search_help_text = (
        "Words in the prompt or in any event, as stored: redacted. Or the kind of an event, or a run's id."
    )
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    actions = None
    change_list_template = "admin/traces/keyset_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:  # noqa: ARG002 - Django's signature
        """A list without COUNT and OFFSET."""
        return _TraceList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; a search says what it can't see."""
        hidden = bool(request.GET.get("q")) and unsearchable(own_tenants(request, self.view_capability))
        return super().changelist_view(request, {"title": "Traces", "unsearchable": hidden, **(extra_context or {})})

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        queryset: QuerySet[Trace],
        search_term: str,
    ) -> tuple[QuerySet[Trace], bool]:
        """Search the events' redacted text."""
        return queries.matching(queryset, search_term), False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """One trace. There is no form on it, and nothing but reading is answered."""
        return self._detail(request, object_id, extra_context)

    def _detail(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None) -> HttpResponse:
        @require_safe
        def show(request: HttpRequest) -> HttpResponse:
            trace = self._trace(request, object_id)
            context = {
                **self.admin_site.each_context(request),
                "title": "Trace",
                "subtitle": str(trace.pk),
                "opts": self.opts,
                "trace": trace,
                "timeline": run_timeline(trace.pk),
                "can_export": can_capability(self.person(request), trace.tenant_id, Capability.EXPORT_TRACES),
                **(extra_context or {}),
            }
            return TemplateResponse(request, "admin/traces/trace/detail.html", context)

        return show(request)

    def _trace(self, request: HttpRequest, object_id: str) -> Trace:
        found = self.get_object(request, object_id)
        if not isinstance(found, Trace):
            raise Http404
        return found

    def get_urls(self) -> list[URLPattern]:
        """The page's own, and those for sharing and comparing."""
        share = path("<uuid:run_id>/export/", self.admin_site.admin_view(self.export_view), name="traces_trace_export")
        compare = path(
            "<uuid:run_id>/compare/", self.admin_site.admin_view(self.compare_view), name="traces_trace_compare"
        )
        analysis = path("analysis/", self.admin_site.admin_view(self.analysis_view), name="traces_trace_analysis")
        return [share, compare, analysis, *super().get_urls()]

    def analysis_view(self, request: HttpRequest) -> HttpResponse:
        """What each agent took lately (`?days=`), in the person's own tenants."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("days", "")
        days = int(asked) if asked in map(str, _PERIODS) else _PERIODS[1]
        tenants = own_tenants(request, self.view_capability)
        context = {
            **self.admin_site.each_context(request),
            "title": "Traces by agent",
            "opts": self.opts,
            "days": days,
            "periods": _PERIODS,
            "analysis": analysis_of(tenants, days=days, now=timezone.now()),
        }
        return TemplateResponse(request, "admin/traces/trace/analysis.html", context)

    def compare_view(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        """Two runs side by side (`?with=<the other one>`): their figures, and where their tool calls part."""
        trace = self._trace(request, str(run_id))
        try:
            traces = [trace, self._trace(request, request.GET.get("with", "").strip())]
        except Http404:
            messages.error(request, "There is no trace with that id that you may see.")
            return redirect("admin:traces_trace_change", trace.pk)
        before, after = (events_of_run(trace.pk) for trace in traces)
        context = {
            **self.admin_site.each_context(request),
            "title": "Compare two runs",
            "opts": self.opts,
            "trace": traces[0],
            "runs": [(trace, run_timeline(trace.pk)) for trace in traces],
            "divergences": divergences(before, after),
        }
        return TemplateResponse(request, "admin/traces/trace/compare.html", context)

    def export_view(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        """Review what would leave the house; then a link or a download, each noted in the ledger first."""
        trace = self._trace(request, str(run_id))
        check_capability(self.person(request), trace.tenant_id, Capability.EXPORT_TRACES)
        chosen = request.POST.get("format") or request.GET.get("format")
        found = prepare(trace, Format.OTLP if chosen == Format.OTLP.value else Format.JSONL)
        context: dict[str, Any] = {}
        if request.method == "POST":
            if request.POST.get("sha256") != found.digest:
                messages.error(request, "The trace has changed since you reviewed it. Read it again.")
            elif "download" in request.POST:
                self._note(request, found, "download")
                return as_file(found)
            else:
                context = self._link(request, found)
        return TemplateResponse(
            request,
            "admin/traces/trace/export.html",
            {
                **self.admin_site.each_context(request),
                "title": "Share a trace",
                "opts": self.opts,
                "trace": trace,
                "export": found,
                "text": found.content[:_REVIEWED].decode(errors="ignore"),
                **context,
            },
        )

    def _note(self, request: HttpRequest, found: Export, how: str) -> None:
        with transaction.atomic(durable=True):
            note(found, self.person(request).get_username(), timezone.now(), how)

    def _link(self, request: HttpRequest, found: Export) -> dict[str, Any]:
        now = timezone.now()
        self._note(request, found, "link")
        place = reverse("shared-trace", args=[token(found, self.person(request), now)])
        return {"link": request.build_absolute_uri(place), "until": now + LINK_LIFE}

    @admin.display(description="job")
    def job(self, trace: Trace) -> SafeString:
        """The beginning of the redacted prompt."""
        text = " ".join(prompt_of(trace).split())
        return shown(text if len(text) <= _GIST else f"{text[:_GIST]}…") or SafeString("(empty)")

    @admin.display(description="started")
    def started(self, trace: Trace) -> str:
        """When it was submitted, in UTC like all times of the admin."""
        return f"{trace.started_at:%Y-%m-%d %H:%M}"

    @admin.display(description="agent")
    def agent(self, trace: Trace) -> str:
        """The agent's name as it was then."""
        return trace.agent_name

    @admin.display(description="state")
    def status(self, trace: Trace) -> str:
        """The run's state in words."""
        return words(trace.state)

    @admin.display(description="submitter")
    def submitter_name(self, trace: Trace) -> str:
        """Who submitted it."""
        return trace.submitter.display_name

    @admin.display(description="tools")
    def tools_met(self, trace: Trace) -> SafeString:
        """The tools it called."""
        return _listed(trace.tools)

    @admin.display(description="decisions")
    def decided(self, trace: Trace) -> SafeString:
        """What reviewers decided."""
        return _listed(trace.decisions)

    @admin.display(description="reviewers")
    def reviewed_by(self, trace: Trace) -> SafeString:
        """Who decided."""
        return _listed(trace.reviewers)

    @admin.display(description="duration")
    def took(self, trace: Trace) -> str:
        """From submission to the end."""
        if trace.finished_at is None:
            return _NOTHING
        return duration_text(max((trace.finished_at - trace.started_at).total_seconds(), 0.0))

    @admin.display(description="cost")
    def cost(self, trace: Trace) -> str:
        """In dollars."""
        return dollars(trace.cost_microdollars)
