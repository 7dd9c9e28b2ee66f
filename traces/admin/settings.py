"""A tenant's settings of this floor: redaction, encryption, retention. The ledger has every change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template.defaultfilters import pluralize
from django.urls import URLPattern, path
from django.utils import timezone

from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin
from traces import encrypting, ledger
from traces.forms import RedactionPolicyForm
from traces.kinds import LedgerKind
from traces.models import EncryptionPolicy, RedactionPolicy, RetentionPolicy
from traces.redactors import compiled_for


class _SettingsAdmin(TenantScopedAdmin):
    """One row a tenant, changed by whoever manages its policy, never deleted."""

    view_capability = Capability.MANAGE_POLICY
    add_capability = Capability.MANAGE_POLICY
    change_capability = Capability.MANAGE_POLICY
    actions = None
    show_full_result_count = False

    def snapshot(self, obj: Any) -> dict[str, Any]:
        """What the ledger keeps of the row."""
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save the row and write what changed into the ledger, in the admin's own transaction."""
        stored = self.model._default_manager.filter(pk=obj.pk).first() if change else None  # noqa: SLF001 - Django's documented name
        super().save_model(request, obj, form, change)
        before, after = self.snapshot(stored) if stored else None, self.snapshot(obj)
        ledger.append(
            tenant_id=self.tenant_of(obj),
            kind=LedgerKind.POLICY_CHANGE,
            actor=self.person(request).get_username(),
            facts={"what": str(self.opts.verbose_name), "before": before, "after": after},
            now=timezone.now(),
        )


@admin.register(RetentionPolicy)
class RetentionPolicyAdmin(_SettingsAdmin):
    """How long a tenant keeps its traces, raw values and ledger."""

    list_display = ("tenant", "trace_days", "raw_days", "ledger_days", "legal_hold")
    fields = ("tenant", "trace_days", "raw_days", "ledger_days", "legal_hold")

    def snapshot(self, obj: RetentionPolicy) -> dict[str, Any]:
        """Its four settings."""
        return {name: getattr(obj, name) for name in ("trace_days", "raw_days", "ledger_days", "legal_hold")}


@admin.register(EncryptionPolicy)
class EncryptionPolicyAdmin(_SettingsAdmin):
    """Whether a tenant's traces are encrypted at rest."""

    list_display = ("tenant", "encrypt_traces", "in_clear", "changed_at")
    fields = ("tenant", "encrypt_traces", "in_clear")
    readonly_fields = ("in_clear",)

    def snapshot(self, obj: EncryptionPolicy) -> dict[str, Any]:
        """Its one setting."""
        return {"encrypt_traces": obj.encrypt_traces}

    @admin.display(description="stored in clear")
    def in_clear(self, obj: EncryptionPolicy) -> str:
        """How many traces are still in clear; where encryption is asked for, they grow fewer."""
        if obj.pk is None:
            return "-"
        count, exact = encrypting.in_clear(obj.pk)
        found = f"{count:,} trace{pluralize(count)}" if exact else f"more than {count:,} traces"
        if obj.encrypt_traces:
            return f"{found}, being encrypted" if count else "nothing"
        return found


@admin.register(RedactionPolicy)
class RedactionPolicyAdmin(_SettingsAdmin):
    """What a tenant redacts before anything is stored, with a box to try it in."""

    form = RedactionPolicyForm
    list_display = ("tenant", "version", "changed_at")
    change_form_template = "admin/traces/redactionpolicy/change_form.html"
    fields = (
        "tenant",
        "redact_emails",
        "redact_phones",
        "redact_secrets",
        "redact_cards",
        "redact_ids",
        "redact_ips",
        "mode",
        "replacement",
        "patterns",
        "sample",
    )

    def snapshot(self, obj: RedactionPolicy) -> dict[str, Any]:
        """The settings and their version."""
        return {"version": obj.version, **obj.hook}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Store the hook under the next version; the row is locked, so that no two changes share one."""
        stored = RedactionPolicy.objects.select_for_update().filter(pk=obj.pk).first()
        obj.version = stored.version + 1 if stored else 1
        obj.hook = form.hook().model_dump(mode="json")
        super().save_model(request, obj, form, change)

    def get_urls(self) -> list[URLPattern]:
        """The page's own, and the preview."""
        preview = path("preview/", self.admin_site.admin_view(self.preview), name="traces_redactionpolicy_preview")
        return [preview, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """The sample redacted with the settings as entered: {"text"} or {"errors"} by field. Stores nothing."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        form = self.form(request.POST)
        del form.fields["tenant"]
        if not form.is_valid():
            return JsonResponse({"errors": form.errors.get_json_data()}, status=422)
        # The key of no tenant: a mark in the preview says nothing about a mark in anybody's traces.
        redactor = compiled_for(0, form.hook())
        return JsonResponse({"text": redactor.redact(form.cleaned_data["sample"])})
