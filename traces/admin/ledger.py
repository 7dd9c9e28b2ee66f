"""The ledger: the list of its entries, and one of them with its place in the chain."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin
from routekit_site.tenancy.templatetags.screens import shown
from traces import ledger
from traces.admin.keyset import KeysetChangeList
from traces.models import LedgerEntry

_GIST = 120


class _EntryList(KeysetChangeList):
    time_field = "at"


@admin.register(LedgerEntry)
class LedgerEntryAdmin(TenantScopedAdmin):
    """Ledger entries of the tenants whose ledger the person may see; nobody changes one."""

    view_capability = Capability.VIEW_LEDGER
    list_display = ("number", "written", "kind", "actor", "gist", "tenant")
    list_filter = ("kind", "at")
    list_per_page = 50
    list_select_related = ("tenant",)
    search_fields = ("actor", "facts", "hash")
    search_help_text = "An actor, an id, a hash, or words of the facts."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    actions = None
    change_list_template = "admin/traces/keyset_list.html"
    fields = ("tenant", "number", "at", "kind", "actor", "facts_shown", "previous_hash", "hash")
    readonly_fields: ClassVar = fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:  # noqa: ARG002 - Django's signature
        """A list without COUNT and OFFSET."""
        return _EntryList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, under a title that offers nothing but reading."""
        return super().changelist_view(request, {"title": "Ledger", **(extra_context or {})})

    @admin.display(description="at")
    def written(self, entry: LedgerEntry) -> str:
        """When, in UTC."""
        return f"{entry.at:%Y-%m-%d %H:%M}"

    @admin.display(description="facts")
    def gist(self, entry: LedgerEntry) -> SafeString:
        """The beginning of the facts."""
        text = ", ".join(f"{key} {value}" for key, value in ledger.facts_of(entry).items())
        return shown(text if len(text) <= _GIST else f"{text[:_GIST]}…")

    @admin.display(description="facts")
    def facts_shown(self, entry: LedgerEntry) -> SafeString:
        """All facts, indented."""
        facts = json.dumps(ledger.facts_of(entry), indent=2, ensure_ascii=False)
        return format_html('<pre class="facts" tabindex="0">{}</pre>', shown(facts))
