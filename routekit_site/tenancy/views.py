"""Signing in and out, and choosing the tenant to work in."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from routekit_site.tenancy.confirming import local_page
from routekit_site.tenancy.demo import demo_memberships
from routekit_site.tenancy.errors import NotVisible
from routekit_site.tenancy.middleware import SESSION_KEY, TenantRequest
from routekit_site.tenancy.provider import leads_to_provider
from routekit_site.tenancy.responses import UNSENT, signed_in
from routekit_site.tenancy.signing_in import announce_sign_in


class SignIn(LoginView):
    """The sign-in page; in demo mode it offers the demo's people as buttons."""

    template_name = "sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        facts = {
            "unsent": UNSENT in self.request.GET,
            "demo_memberships": demo_memberships(),
            "provider": settings.OIDC_ORIGIN and settings.OIDC_NAME,
        }
        return super().get_context_data(**kwargs) | facts

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """The password was right: go on to the second step where the account has one, else sign in."""
        pending = Login(user=form.get_user(), redirect_url=self.get_success_url())
        answer: HttpResponse = perform_password_login(self.request, {}, pending)
        return answer


sign_in = sensitive_post_parameters("password")(leads_to_provider(SignIn.as_view()))
sign_out = LogoutView.as_view()


@require_POST
def demo_sign_in(request: HttpRequest) -> HttpResponse:
    """Sign one of the demo's people in without a password. There is no such address outside demo mode."""
    if not settings.DEMO:
        raise Http404
    wanted = request.POST.get("username", "")
    found = next((m for m in demo_memberships() if m.user.get_username() == wanted), None)
    if found is None:
        message = "The demo has no such account."
        raise Http404(message)
    with transaction.atomic():
        login(request, found.user, backend="django.contrib.auth.backends.ModelBackend")
        announce_sign_in(request, found.user, "demo button")
    return HttpResponseRedirect(local_page(request, request.POST.get("next", "")))


@require_safe
@never_cache
@signed_in
def halts(request: TenantRequest) -> HttpResponse:
    """The part of every page that tells what is stopped, for pages that are open when it changes."""
    return render(request, "_halts.html")


@require_POST
@signed_in
def switch_tenant(request: TenantRequest) -> HttpResponse:
    """Work in another of one's own tenants from now on."""
    wanted = request.POST.get("tenant", "")
    found = next((m for m in request.memberships if str(m.tenant_id) == wanted), None)
    if found is None:
        message = "You are not a member of that tenant."
        raise NotVisible(message)
    request.session[SESSION_KEY] = found.tenant_id
    return HttpResponseRedirect(resolve_url("home"))
