"""The admin's page over contained tools: what happened, and the form that gives a tool back. Own tenants only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html

from approvals import containment
from approvals.errors import BadLifting, ContainmentOver
from approvals.models import Containment
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.urls import URLPattern
    from django.utils.safestring import SafeString


class LiftingForm(forms.Form):
    """Why the tool may run again."""

    reason = forms.CharField(max_length=500, strip=True)


@admin.register(Containment)
class ContainmentAdmin(TenantScopedAdmin):
    """Read-only, but for lifting: nobody makes, edits or deletes a containment by hand."""

    view_capability = Capability.MANAGE_POLICY
    change_form_template = "admin/approvals/containment/change_form.html"
    list_display = ("tool", "whom", "tenant", "attack_class", "begun_at", "state")
    list_filter = (("lifted_at", admin.EmptyFieldListFilter), "attack_class")
    list_select_related = ("tenant", "lifted_by")
    search_fields = ("tool",)
    ordering = ("-begun_at",)
    actions = None
    fields = (
        "tenant",
        "tool",
        "whom",
        "attack_class",
        "detail",
        "tier",
        "run",
        "begun_at",
        "calls",
        "rules",
        "lifted_by",
        "lifted_at",
        "lift_reason",
    )
    readonly_fields: ClassVar = fields

    @admin.display(description="contained")
    def whom(self, obj: Containment) -> str:
        """Whose calls are stopped."""
        return obj.whom()

    @admin.display(description="run")
    def run(self, obj: Containment) -> SafeString:
        """The run in which it happened, by its trace."""
        return format_html('<a href="{}">{}</a>', reverse("admin:traces_trace_change", args=[obj.run_id]), obj.run_id)

    @admin.display(description="state")
    def state(self, obj: Containment) -> str:
        """Whether the tool is out of use."""
        return "out of use" if obj.lifted_at is None else f"lifted by {obj.lifted_by}"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.lift_view)
        return [path("<uuid:containment_id>/lift/", view, name="approvals_containment_lift"), *super().get_urls()]

    def lift_view(self, request: HttpRequest, containment_id: Any) -> HttpResponse:
        """Give the tool back, with the reason that the form holds."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        found = self.get_object(request, str(containment_id))
        check_capability(self.person(request), self.tenant_of(found), Capability.MANAGE_POLICY)
        form = LiftingForm(request.POST)
        try:
            with transaction.atomic(durable=True):
                reason = str(form.cleaned_data["reason"]) if form.is_valid() else ""
                containment.lift(containment_id, self.person(request), reason, now=database_now())
        except (BadLifting, ContainmentOver) as error:
            self.message_user(request, str(error), messages.WARNING)
        else:
            self.message_user(request, f"Lifted: {found}. What was revoked stays revoked.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:approvals_containment_change", args=[containment_id]))
