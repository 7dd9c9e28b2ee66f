"""Agents in the admin: own tenants only, every change counted as a version and kept in the ledger."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.http import HttpRequest

from agents.admin_forms import AgentForm, TenantCeilingForm
from agents.execution import SandboxPolicy
from agents.models import Agent, TenantCeiling
from approvals import allow_list
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin

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
