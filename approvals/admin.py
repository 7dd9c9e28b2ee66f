"""The policy pages of the admin: allow-list, tenant policy, remembered rules. Own tenants only, all in the ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html

from approvals import (
    admin_containments,  # noqa: F401 - Django finds an app's admin pages through this module
    allow_list,
    notice_admin,  # noqa: F401 - as above
    reveal_admin,  # noqa: F401 - as above
    rules,
)
from approvals.admin_forms import ImportForm, TenantPolicyForm, ToolAllowanceForm
from approvals.constraints import sentence
from approvals.errors import RulePastRevoking
from approvals.models import TenantPolicy, ToolAllowance, ToolRule
from approvals.policy_facts import APPROVER_ROLES, constraints_from
from approvals.recorded_calls import VERDICT_NAMES
from approvals.simulation import draft, simulate, tested
from routekit_site.tenancy.access import tenants_with
from routekit_site.tenancy.models import Tenant
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

    from approvals.types import JSONValue, PolicyFacts

SHOWN_CHANGES = 200
IDLE_AFTER = timedelta(days=7)


class PolicyAdmin(TenantScopedAdmin):
    """What the pages of policy have in common: a preview before saving, and every change in the ledger."""

    view_capability = Capability.MANAGE_POLICY
    add_capability = Capability.MANAGE_POLICY
    change_capability = Capability.MANAGE_POLICY

    def subject(self, obj: Any) -> str:
        """What the ledger calls the thing that changed."""
        raise NotImplementedError

    def snapshot(self, obj: Any) -> dict[str, JSONValue]:
        """The row as JSON, for the ledger and the history."""
        raise NotImplementedError

    def drafted(self, obj: Any) -> PolicyFacts:
        """The tenant's policy as it would be with this unsaved row."""
        raise NotImplementedError

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        stored = self.get_queryset(request).filter(pk=obj.pk).first() if change else None
        super().save_model(request, obj, form, change)
        before = None if stored is None else self.snapshot(stored)
        self.note(request, obj, before, self.snapshot(obj))

    def note(
        self, request: HttpRequest, obj: Any, before: dict[str, JSONValue] | None, after: dict[str, JSONValue] | None
    ) -> None:
        """One change in the ledger of the row's tenant."""
        person = self.person(request)
        allow_list.note_change(self.tenant_of(obj), person, self.subject(obj), before, after, now=timezone.now())

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        """The history says what changed from what to what, not only in which field."""
        if add:
            return super().construct_change_message(request, form, formsets, add)
        fields = [name for name in form.changed_data if name in self.snapshot(form.instance)]
        before = {name: form.initial.get(name) for name in fields}
        after = {name: form.cleaned_data.get(name) for name in fields}
        return "; ".join(allow_list.differences(before, after)) or "No fields changed."

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The stock page, or, for its "Preview" button, the page as it was sent with what it would change."""
        if request.method == "POST" and "_preview" in request.POST:
            return self._preview(request, object_id, form_url)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _preview(self, request: HttpRequest, object_id: str | None, form_url: str) -> HttpResponse:
        obj = None if object_id is None else self.get_object(request, unquote(object_id))
        allowed = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        if not allowed:
            raise PermissionDenied
        form = self.get_form(request, obj, change=obj is not None, fields=None)(request.POST, instance=obj)
        preview = self.preview_of(form) if form.is_valid() else None
        fieldsets, readonly = self.get_fieldsets(request, obj), self.get_readonly_fields(request, obj)
        admin_form = AdminForm(form, cast("Any", fieldsets), {}, readonly, model_admin=self)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Preview: {self.opts.verbose_name}",
            "adminform": admin_form,
            "object_id": object_id,
            "original": obj,
            "is_popup": False,
            "to_field": None,
            "media": self.media + admin_form.media,
            "inline_admin_formsets": [],
            "errors": AdminErrorList(form, []),
            "preserved_filters": self.get_preserved_filters(request),
            "preview": preview,
        }
        return self.render_change_form(
            request, context, add=obj is None, change=obj is not None, form_url=form_url, obj=obj
        )

    def preview_of(self, form: Any) -> dict[str, Any]:
        """What the draft in the form would have done to the calls of the last 30 days."""
        facts = self.drafted(form.instance)
        return _simulated(self.tenant_of(form.instance), facts) | self.test_of(form, facts)

    def test_of(self, form: Any, facts: PolicyFacts) -> dict[str, Any]:  # noqa: ARG002 - for a subclass with a test box
        """The verdict on the call in the form's test box; nothing where there is no box."""
        return {}


def _simulated(tenant_id: int, facts: PolicyFacts) -> dict[str, Any]:
    found = simulate(tenant_id, facts, now=timezone.now())
    return {"simulation": found, "shown": found.changed[:SHOWN_CHANGES]}


@admin.register(ToolAllowance)
class ToolAllowanceAdmin(PolicyAdmin):
    """The allow-list: one row a tool. A tool without a row is denied."""

    delete_capability = Capability.MANAGE_POLICY
    form = ToolAllowanceForm
    list_display = ("tool", "tenant", "mode", "conditions", "reversibility", "approvers", "changed_at")
    list_filter = ("mode", ("tenant", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("tenant",)
    search_fields = ("tool",)
    ordering = ("tenant_id", "tool")
    fieldsets: ClassVar = (
        (None, {"fields": ("tenant", "tool", "mode", "constraints", "reversibility")}),
        (
            "Who approves, and by when",
            {
                "fields": (
                    "approver_roles",
                    "approvals_needed",
                    "approver_expression",
                    "four_eyes",
                    "decide_by_seconds",
                    "execute_by_seconds",
                )
            },
        ),
        ("Test a call", {"fields": ("test_arguments",), "description": "Preview tells the verdict on this call."}),
    )

    @admin.display(description="constraints")
    def conditions(self, obj: ToolAllowance) -> str:
        """The constraints as sentences."""
        return "; ".join(map(sentence, constraints_from(obj.constraints))) or "none"

    @admin.display(description="approval by")
    def approvers(self, obj: ToolAllowance) -> str:
        """Who has to approve, in a few words."""
        roles = " or ".join(obj.approver_roles or APPROVER_ROLES)
        who = obj.approver_expression or f"{obj.approvals_needed} of {roles}"
        return who + (", not the submitter" if obj.four_eyes else "")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any] | tuple[Any, ...]:
        """An entry stays with its tool and its tenant."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else (*fields, "tool")

    def subject(self, obj: ToolAllowance) -> str:
        return obj.tool

    def snapshot(self, obj: ToolAllowance) -> dict[str, JSONValue]:
        return allow_list.snapshot(obj)

    def drafted(self, obj: ToolAllowance) -> PolicyFacts:
        return draft(obj.tenant_id, changed=[obj])

    def test_of(self, form: Any, facts: PolicyFacts) -> dict[str, Any]:
        arguments = form.cleaned_data["test_arguments"]
        if arguments is None:
            return {}
        verdict = tested(facts, form.instance.tool, arguments, now=timezone.now())
        return {"verdict": verdict, "verdict_name": VERDICT_NAMES[type(verdict)]}

    def delete_model(self, request: HttpRequest, obj: ToolAllowance) -> None:
        before = self.snapshot(obj)
        super().delete_model(request, obj)
        self.note(request, obj, before, None)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ToolAllowance]) -> None:
        with transaction.atomic():
            for row in queryset.select_for_update():
                self.delete_model(request, row)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path("export/", self.admin_site.admin_view(self.export_view), name="approvals_toolallowance_export"),
            path("import/", self.admin_site.admin_view(self.import_view), name="approvals_toolallowance_import"),
        ]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {**(extra_context or {}), "own_tenants": self._own_tenants(request)})

    def export_view(self, request: HttpRequest) -> HttpResponse:
        """The allow-list of `?tenant=<slug>` as a JSON file."""
        tenant = get_object_or_404(self._own_tenants(request), slug=request.GET.get("tenant", ""))
        response = JsonResponse(allow_list.exported(tenant.pk), json_dumps_params={"indent": 2})
        response["Content-Disposition"] = f'attachment; filename="allow-list-{tenant.slug}.json"'
        return response

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Paste an exported file, see what it would change, and take it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ImportForm(request.POST or None, tenants=self._own_tenants(request))
        preview = None
        if form.is_valid():
            tenant: Tenant = form.cleaned_data["tenant"]
            if "_preview" not in request.POST:
                return self._imported(request, tenant, form)
            preview = _simulated(tenant.pk, self._import_draft(tenant, form))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import an allow-list",
            "form": form,
            "preview": preview,
        }
        return TemplateResponse(request, "admin/approvals/toolallowance/import.html", context)

    def _imported(self, request: HttpRequest, tenant: Tenant, form: ImportForm) -> HttpResponse:
        person, replace = self.person(request), form.cleaned_data["replace"]
        with transaction.atomic(durable=True):
            changes = allow_list.store(tenant.pk, form.rows, person, replace=replace, now=timezone.now())
        self.message_user(request, " · ".join(changes) or "Nothing had to be changed.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:approvals_toolallowance_changelist"))

    @staticmethod
    def _import_draft(tenant: Tenant, form: ImportForm) -> PolicyFacts:
        removed: Iterable[str] = ()
        if form.cleaned_data["replace"]:
            named = {row.tool for row in form.rows}
            known = ToolAllowance.objects.filter(tenant=tenant).values_list("tool", flat=True)
            removed = [tool for tool in known if tool not in named]
        return draft(tenant.pk, changed=form.rows, removed=removed)

    @staticmethod
    def _own_tenants(request: HttpRequest) -> QuerySet[Tenant]:
        own = tenants_with(request.user, Capability.MANAGE_POLICY)
        return Tenant.objects.filter(pk__in=own).order_by("name")


@admin.register(TenantPolicy)
class TenantPolicyAdmin(PolicyAdmin):
    """A tenant's gate policy and clocks: one row a tenant, with defaults until there is one."""

    form = TenantPolicyForm
    list_display = ("tenant", "approval_callback", "decide_by_seconds", "execute_by_seconds", "changed_at")
    list_select_related = ("tenant",)
    ordering = ("tenant_id",)

    def subject(self, obj: TenantPolicy) -> str:  # noqa: ARG002 - one row a tenant
        return "policy"

    def snapshot(self, obj: TenantPolicy) -> dict[str, JSONValue]:
        return allow_list.policy_snapshot(obj)

    def drafted(self, obj: TenantPolicy) -> PolicyFacts:
        return draft(obj.tenant_id, policy=obj)


@admin.register(ToolRule)
class ToolRuleAdmin(TenantScopedAdmin):
    """Remembered approvals: read, counted, revoked; made only from a decision."""

    view_capability = Capability.MANAGE_POLICY
    list_display = ("rule", "tenant", "made_by", "made_at", "expires_at", "used", "last_used_at", "state")
    list_filter = (("tenant", admin.RelatedOnlyFieldListFilter), "tool")
    list_select_related = ("tenant", "made_by", "made_from", "revoked_by")
    ordering = ("-made_at",)
    actions = None
    fields = (
        "tenant",
        "tool",
        "summary",
        "agent_id",
        "made_by",
        "made_at",
        "expires_at",
        "used",
        "last_used_at",
        "revoked_by",
        "revoked_at",
    )

    @admin.display(description="rule", ordering="summary")
    def rule(self, obj: ToolRule) -> SafeString:
        """The rule's sentence, faded when it no longer speaks or nobody has needed it for a week."""
        if not self._is_in_force(obj):
            look = "rule-over"
        else:
            look = "rule-idle" if (obj.last_used_at or obj.made_at) < timezone.now() - IDLE_AFTER else "rule"
        return format_html('<span class="{}">{}</span>', look, obj.summary)

    @admin.display(description="used", ordering="uses")
    def used(self, obj: ToolRule) -> str:
        """How often it has passed a call."""
        return f"{obj.uses} of {obj.max_uses}"

    @admin.display(description="state")
    def state(self, obj: ToolRule) -> str | SafeString:
        """A button to revoke a rule in force; else why it is over."""
        if obj.revoked_at is not None:
            return f"revoked by {obj.revoked_by}"
        if obj.ended_by_id is not None:
            return "ended: the tool was contained"
        if obj.made_from is not None and obj.made_from.undone_at is not None:
            return "its approval was undone"
        if obj.expires_at <= timezone.now():
            return "expired"
        if obj.uses >= obj.max_uses:
            return "used up"
        button = (
            '<button type="submit" class="button" name="rule" value="{}" formmethod="post" formaction="{}">{}</button>'
        )
        return format_html(button, obj.pk, reverse("admin:approvals_toolrule_revoke"), "Revoke")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.revoke_view)
        return [path("revoke/", view, name="approvals_toolrule_revoke"), *super().get_urls()]

    def revoke_view(self, request: HttpRequest) -> HttpResponse:
        """End the rule that the button names."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        rule = self.get_object(request, request.POST.get("rule", ""))
        try:
            with transaction.atomic(durable=True):
                rules.revoke(rule.pk, self.person(request), now=timezone.now())
        except RulePastRevoking as error:
            self.message_user(request, str(error), messages.WARNING)
        else:
            self.message_user(request, f"Revoked: {rule}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:approvals_toolrule_changelist"))

    @staticmethod
    def _is_in_force(obj: ToolRule) -> bool:
        undone = obj.made_from is not None and obj.made_from.undone_at is not None
        ended = obj.revoked_at is not None or obj.ended_by_id is not None
        return not undone and not ended and obj.expires_at > timezone.now() and obj.uses < obj.max_uses
