"""The Django admin, opened to tenants' admins and auditors instead of to staff, and with its own CSP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csp.decorators import csp_replace
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url

from routekit_site.tenancy.access import tenants_with
from routekit_site.tenancy.roles import Capability


class SiteAdmin(admin.AdminSite):
    """Lets in operators, and whoever may read traces or manage policy in some tenant."""

    site_header = "RouteKit Site"
    site_title = "RouteKit Site"
    index_title = "Administration"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the person may see the admin at all; each page asks again for its own objects."""
        user = request.user
        if not user.is_authenticated or not user.is_active:
            return False
        return bool(
            user.is_superuser
            or tenants_with(user, Capability.VIEW_TRACES)
            or tenants_with(user, Capability.MANAGE_POLICY)
        )

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """One sign-in page for the whole site; somebody signed in who may not be here gets the admin's own refusal."""
        if request.user.is_authenticated and not self.has_permission(request):
            return HttpResponseRedirect(resolve_url("home"))
        return HttpResponseRedirect(
            f"{resolve_url('sign-in')}?next={request.GET.get('next') or resolve_url('admin:index')}"
        )

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:  # noqa: FBT001, FBT002 - Django's signature
        """Every admin page under the site's CSP, without Trusted Types, which the stock admin's scripts don't know."""
        return csp_replace({"require-trusted-types-for": None})(super().admin_view(view, cacheable))
