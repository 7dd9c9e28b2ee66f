"""Agents in the admin: own tenants only, every change counted as a version and kept in the ledger."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse

from agents.admin_forms import AgentForm, HaltForm, TenantCeilingForm
from agents.execution import SandboxPolicy
from agents.models import Agent, TenantCeiling
from approvals import allow_list, halting
from approvals.errors import NotHalted
from approvals.halting import Target
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Halt, Tenant
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin, own_tenants

_KEPT = [name for name in AgentForm.Meta.fields if name != "tenant"]


@admin.register(Agent)
class AgentAdmin(TenantScopedAdmin):
    """Gates of an agent that was changed are asked again: the version is part of what an approval is bound to."""

    form = AgentForm
    view_capability = Capability.MANAGE_AGENTS
    add_capability = Capability.MANAGE_AGENTS
    change_capability = Capability.MANAGE_AGENTS
    list_display = ("name", "tenant", "provider", "model", "enabled", "version", "changed_at")
    list_filter: ClassVar = ["enabled", "provider"]
    list_select_related = ("tenant",)
    search_fields: ClassVar = ["name"]
    readonly_fields = ("version", "changed_at")
    ordering = ("tenant__slug", "name")

    def get_form(self, request: HttpRequest, obj: Agent | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        form = super().get_form(request, obj, change=change, **kwargs)
        return type("AgentFormOfPerson", (form,), {"operator": _is_operator(request)})

    def save_model(self, request: HttpRequest, obj: Any, form: AgentForm, change: bool) -> None:  # noqa: FBT001 - Django's signature
        before: dict[str, Any] | None = None
        if change:
            check_capability(self.person(request), obj.tenant_id, Capability.MANAGE_AGENTS)
            stored = Agent.objects.get(pk=obj.pk)
            before, seen = snapshot(stored), form.cleaned_data["seen_version"]
            after = snapshot(obj)
            if before == after:
                return
            unchanged = Agent.objects.filter(pk=obj.pk, version=seen)
            # The form locked the row and saw this version, so the update finds it.
            unchanged.update(**after, version=seen + 1, changed_at=database_now())
            obj.version = seen + 1
        else:
            super().save_model(request, obj, form, change)
        allow_list.note_change(
            obj.tenant_id, self.person(request), f"agent: {obj.name}", before, snapshot(obj), now=database_now()
        )
        for warning in SandboxPolicy.model_validate(obj.sandbox).warnings():
            messages.warning(request, warning)


@admin.register(TenantCeiling)
class TenantCeilingAdmin(TenantScopedAdmin):
    """What bounds a tenant's agents. Its admins read it; an operator who is an admin of the tenant changes it."""

    form = TenantCeilingForm
    view_capability = Capability.MANAGE_AGENTS
    add_capability = Capability.MANAGE_AGENTS
    change_capability = Capability.MANAGE_AGENTS
    list_display = ("tenant", "limits", "runtime", "changed_at")
    list_select_related = ("tenant",)
    ordering = ("tenant__slug",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_operator(request) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_operator(request) and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        stored = TenantCeiling.objects.select_for_update().filter(pk=obj.pk).first()
        before = None if stored is None else {"limits": stored.limits, "runtime": stored.runtime}
        super().save_model(request, obj, form, change)
        after = {"limits": obj.limits, "runtime": obj.runtime}
        allow_list.note_change(obj.tenant_id, self.person(request), "ceiling", before, after, now=database_now())


def _is_operator(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def snapshot(agent: Agent) -> dict[str, Any]:
    """What can be changed of an agent, for the ledger and the comparison."""
    return {name: getattr(agent, name) for name in _KEPT}


@admin.register(Halt)
class HaltAdmin(TenantScopedAdmin):
    """The kill switch. A tenant's admins stop their tenant or one of its agents; an operator stops the whole site."""

    view_capability = Capability.HALT_AGENTS
    add_capability = Capability.HALT_AGENTS
    list_display = ("what", "reason", "halted_at", "halted_by", "lifted_at", "lifted_by")
    list_select_related = ("tenant",)
    list_filter = (("lifted_at", admin.EmptyFieldListFilter),)
    ordering = ("-halted_at", "-id")
    actions = ("lift",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Halt]:
        """Halts of own tenants, and those of the whole site, which concern everybody."""
        allowed = own_tenants(request, self.view_capability)
        return Halt.objects.filter(Q(tenant_id__in=allowed) | Q(tenant=None))

    def may(self, request: HttpRequest, capability: Capability | None, obj: Model | None = None) -> bool:
        """An operator, too, for the site."""
        if capability is not None and _is_operator(request) and (obj is None or getattr(obj, "tenant_id", 0) is None):
            return True
        if isinstance(obj, Halt) and obj.tenant_id is None:
            return capability is not None and super().may(request, capability)
        return super().may(request, capability, obj)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Choose what to stop. The one page that writes here; what stands is changed by lifting it only."""
        del form_url
        form = HaltForm(request.POST if request.method == "POST" else None, targets=self._targets(request))
        if form.is_valid():
            target = form.chosen()
            halting.check_halt(self.person(request), target.tenant.pk if target.tenant else None)
            with transaction.atomic():
                thrown = halting.halt(
                    target,
                    by=self.person(request).get_username(),
                    reason=form.cleaned_data["reason"],
                    now=database_now(),
                )
            messages.warning(request, f"Stopped: {thrown.what}.")
            return HttpResponseRedirect(resolve_url("admin:tenancy_halt_changelist"))
        page = {**self.admin_site.each_context(request), "title": "Stop agents", "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/tenancy/halt/add.html", page | (extra_context or {}))

    def _targets(self, request: HttpRequest) -> dict[str, tuple[str, Target]]:
        """What this person may stop: (label, target) by scope."""
        tenants = list(Tenant.objects.filter(pk__in=own_tenants(request, Capability.HALT_AGENTS)).order_by("name"))
        found = [(f"every agent of {tenant.name}", Target(tenant)) for tenant in tenants]
        agents = Agent.objects.filter(tenant__in=tenants).select_related("tenant").order_by("tenant__name", "name")
        found += [
            (f"{each.name} of {each.tenant.name}", Target(each.tenant, str(each.pk), each.name)) for each in agents
        ]
        if _is_operator(request):
            found.append(("every agent of this site", Target()))
        return {target.scope: (label, target) for label, target in found}

    @admin.action(description="Lift the selected halts: runs go on where they stood", permissions=["view"])
    def lift(self, request: HttpRequest, chosen: QuerySet[Halt]) -> None:
        """Take halts back, each as the person may."""
        for each in chosen.filter(lifted_at=None).select_related("tenant"):
            halting.check_halt(self.person(request), each.tenant_id)
            try:
                with transaction.atomic():
                    halting.lift(each.pk, by=self.person(request).get_username(), now=database_now())
            except NotHalted as error:
                messages.warning(request, f"{each.what}: {error}")
            else:
                messages.success(request, f"Lifted: {each.what}.")
