"""A person's own account: password, second factors, passkeys, the identity at the operator's provider."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.views import ConnectionsView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import PasswordChangeView
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_safe

from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.provider import leads_to_provider
from routekit_site.tenancy.responses import signed_in


@require_safe
@never_cache
@leads_to_provider
@signed_in
def account(request: TenantRequest) -> HttpResponse:
    """What signs this person in, and what to do about each."""
    found = list(Authenticator.objects.filter(user_id=request.user.pk).order_by("created_at"))
    by_type = {each.type: each for each in found}
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES)
    facts = {
        "app": by_type.get(Authenticator.Type.TOTP),
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else None,
        "passkeys": [each for each in found if each.type == Authenticator.Type.WEBAUTHN],
        "provider": settings.OIDC_ORIGIN and settings.OIDC_NAME,
        "identities": SocialAccount.objects.filter(user_id=request.user.pk).order_by("date_joined"),
        "place": "account",
    }
    return render(request, "account/account.html", facts)


@method_decorator(sensitive_post_parameters(), name="dispatch")
@method_decorator(never_cache, name="dispatch")
class ChangePassword(PasswordChangeView):
    """A new password: it signs every other browser of the account out, and closes their sockets."""

    template_name = "account/password_change.html"
    success_url = reverse_lazy("account")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Nothing here for somebody whose identity provider is their only way in."""
        if request.user.is_authenticated and not request.user.has_usable_password():
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """Store it and say what else it did."""
        messages.success(self.request, "The password is changed. Every other browser of yours is signed out.")
        return super().form_valid(form)


change_password = ChangePassword.as_view()


def to_account(request: HttpRequest) -> HttpResponse:
    """django-allauth's own lists stand on the account page."""
    del request
    return HttpResponseRedirect(resolve_url("account"))


class Identities(ConnectionsView):  # type: ignore[misc]
    """Taking an identity off the account; the list of them stands on the account page."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        del args, kwargs
        return to_account(request)

    def form_invalid(self, form: Any) -> HttpResponse:
        for texts in form.errors.values():
            messages.error(self.request, texts[0])
        return to_account(self.request)


identities = Identities.as_view()
