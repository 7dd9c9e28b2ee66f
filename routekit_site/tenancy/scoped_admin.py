"""The base of every admin page that shows tenants' rows: own tenants only, by capability instead of by staff flag.

An operator (`is_superuser`) sees no tenant's rows by being an operator: who reads or changes a tenant's rows is a
member of it, and that membership can be seen by the tenant's admins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist
from django.http import Http404, HttpRequest

from routekit_site.tenancy.access import check_capability, tenants_with
from routekit_site.tenancy.models import Tenant, User

if TYPE_CHECKING:
    from django.db import models
    from django.forms import ModelChoiceField

    from routekit_site.tenancy.roles import Capability

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin


def own_tenants(request: HttpRequest, capability: Capability) -> list[int]:
    """Ids of the tenants in which the person has `capability`, read once a request: an admin page asks 50 times."""
    known: dict[Capability, list[int]] = request.__dict__.setdefault("_own_tenants", {})
    if capability not in known:
        known[capability] = tenants_with(request.user, capability)
    return known[capability]


class TenantScopedAdmin(_ModelAdmin):
    """An admin page over rows that belong to tenants.

    A subclass names the capability for each act; `None` forbids the act to everybody. `tenant_path` is the lookup from
    a row to its tenant's id (`tenant_id`, `trace__tenant_id`). A row of another tenant does not exist here (404).
    """

    view_capability: ClassVar[Capability]
    add_capability: ClassVar[Capability | None] = None
    change_capability: ClassVar[Capability | None] = None
    delete_capability: ClassVar[Capability | None] = None
    tenant_path: ClassVar[str] = "tenant_id"

    def tenant_of(self, obj: models.Model) -> int:
        """The id of the tenant that `obj` belongs to, along `tenant_path`."""
        value: Any = obj
        for name in self.tenant_path.split("__"):
            value = getattr(value, name)
        return int(value)

    def may(self, request: HttpRequest, capability: Capability | None, obj: models.Model | None = None) -> bool:
        """Whether the person has `capability` in the row's tenant, or in any tenant when there is no row."""
        if capability is None:
            return False
        tenants = own_tenants(request, capability)
        return bool(tenants) if obj is None else self.tenant_of(obj) in tenants

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Only rows of tenants in which the person may look."""
        allowed = own_tenants(request, self.view_capability)
        return super().get_queryset(request).filter(**{f"{self.tenant_path}__in": allowed})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> models.Model:
        """The row, of an own tenant; anything else is a 404, not Django's redirect."""
        found: models.Model | None = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may(request, self.view_capability)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self.may(request, self.view_capability, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.may(request, self.add_capability)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self.may(request, self.change_capability, obj)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self.may(request, self.delete_capability, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> list[Any] | tuple[Any, ...]:
        """As declared, and the tenant of a row that exists: no row moves from one tenant to another."""
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else (*fields, "tenant") if self.tenant_path == "tenant_id" else fields

    def save_model(self, request: HttpRequest, obj: models.Model, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save, once more sure that the row lands in a tenant in which the person may write.

        Raises:
            NotVisible: the person is no member of that tenant.
            NotAllowed: a member, without the capability.
        """
        capability = self.change_capability if change else self.add_capability
        if capability is not None:
            check_capability(self.person(request), self.tenant_of(obj), capability)
        super().save_model(request, obj, form, change)

    def formfield_for_foreignkey(
        self, db_field: models.ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> ModelChoiceField[Any] | None:
        """A foreign key offers, and accepts, rows of own tenants only. Who has one tenant need not choose it."""
        if "queryset" not in kwargs:
            kwargs["queryset"] = self.own_choices(db_field.remote_field.model, request)
        if db_field.remote_field.model is Tenant and not db_field.null and len(kwargs["queryset"]) == 1:
            kwargs.setdefault("initial", kwargs["queryset"][0])
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def own_choices(self, model: type[models.Model], request: HttpRequest) -> models.QuerySet[Any]:
        """The rows of `model` that a form of this person may point at; none of a model that names no tenant."""
        capability = self.add_capability or self.change_capability or self.view_capability
        allowed = own_tenants(request, capability)
        rows = model._default_manager.all()  # noqa: SLF001 - Django's documented name
        if model is Tenant:
            return rows.filter(pk__in=allowed)
        if model is User:
            return rows.filter(memberships__tenant_id__in=allowed).distinct()
        try:
            model._meta.get_field("tenant")  # noqa: SLF001 - Django's documented name
        except FieldDoesNotExist:
            return rows.none()
        return rows.filter(tenant_id__in=allowed)

    @staticmethod
    def person(request: HttpRequest) -> User:
        """Who asks; nobody gets here without having signed in."""
        if not isinstance(request.user, User):
            raise Http404
        return request.user
