"""Who looked at which masked value, and why: read-only, for a tenant's admins and auditors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html

from approvals.models import Reveal
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin

if TYPE_CHECKING:
    from django.utils.safestring import SafeString


@admin.register(Reveal)
class RevealAdmin(TenantScopedAdmin):
    """One row a value that was shown. The value itself is kept nowhere."""

    view_capability = Capability.VIEW_LEDGER
    list_display = ("revealed_at", "revealed_by", "tenant", "value", "call", "reason")
    list_filter = (("tenant", admin.RelatedOnlyFieldListFilter), "label")
    list_select_related = ("tenant", "gate", "revealed_by")
    ordering = ("-revealed_at", "-id")
    actions = None
    fields = ("tenant", "revealed_at", "revealed_by", "value", "call", "reason", "mark")
    readonly_fields: ClassVar = ["value", "call"]

    @admin.display(description="value", ordering="label")
    def value(self, obj: Reveal) -> str:
        """What kind of value it was, and where."""
        return f"{obj.label} in {obj.argument}"

    @admin.display(description="call")
    def call(self, obj: Reveal) -> SafeString:
        """The call, with its page."""
        return format_html('<a href="{}">{}</a>', reverse("gate", args=[obj.gate_id]), obj.gate.tool)
