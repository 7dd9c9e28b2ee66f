"""The Django admin, opened to tenants' admins and auditors instead of to staff, and with its own CSP."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from csp.decorators import csp_replace
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url

from routekit_site.tenancy.access import tenants_with
from routekit_site.tenancy.reauthentication import check_reauthenticated
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.scoped_admin import TenantScopedAdmin

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def _changes_something(request: HttpRequest) -> bool:
    """Whether the request may change policy: whatever is sent, but for previews, which save nothing."""
    preview = "_preview" in request.POST or request.path.endswith("/preview/")
    return request.method not in {"GET", "HEAD", "OPTIONS"} and not preview


def _without_nul(request: HttpRequest) -> None:
    """Put U+FFFD in the place of NUL in the address: Django hands filters on as they are, and PostgreSQL refuses it."""
    if "%00" in request.META.get("QUERY_STRING", ""):
        asked = request.GET.copy()
        for name, values in request.GET.lists():
            asked.setlist(name, [value.replace("\x00", "\ufffd") for value in values])
        request.GET = asked  # type: ignore[assignment]  # a copy that nobody changes any more


class SiteAdmin(admin.AdminSite):
    """Lets in operators, and whoever may read traces or manage policy in some tenant."""

    site_header = "RouteKit Site"
    site_title = "RouteKit Site"
    index_title = "Administration"
    # Lists of traces and of the allow-list are wide; the breadcrumbs lead back.
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Take only pages that are scoped by tenant.

        Other apps bring pages for whoever is a superuser: groups, second factors, identities. An operator who
        could change those would be anybody.
        """
        if isinstance(admin_class, type) and issubclass(admin_class, TenantScopedAdmin):
            super().register(model_or_iterable, admin_class, **options)

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

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """One sign-in page for the whole site."""
        self.check_permission(request)
        wanted = request.GET.get("next") or resolve_url("admin:index")
        return HttpResponseRedirect(f"{resolve_url('sign-in')}?{urlencode({'next': wanted})}")

    def check_permission(self, request: HttpRequest) -> None:
        """Somebody who is signed in and has nothing to do here is told so, instead of being asked to sign in.

        Raises:
            PermissionDenied: signed in, and `has_permission` is false.
        """
        if request.user.is_authenticated and not self.has_permission(request):
            raise PermissionDenied("The administration is for the admins and auditors of a tenant. Ask one of yours.")

    def admin_view(self, view: View, cacheable: bool = False) -> View:  # noqa: FBT001, FBT002 - Django's signature
        """Every admin page under the site's CSP, without Trusted Types, which the stock admin's scripts don't know."""
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.path != resolve_url("admin:logout"):
                self.check_permission(request)
                if _changes_something(request):
                    check_reauthenticated(request)
            _without_nul(request)
            return inner(request, *args, **kwargs)

        return cast("View", csp_replace({"require-trusted-types-for": None})(checked))
