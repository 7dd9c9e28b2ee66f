"""Confirming again who one is, before what matters most: high-risk approvals, reveals, changes of policy.

Any view calls `check_reauthenticated(request)`; the middleware below turns the refusal
into the confirmation page (a script gets 403 with its address). A sign-in counts as a confirmation.

Note [What was sent is not stored]: a form that arrives too late is not kept in the session: raw text has no place
there, though sessions are sealed. It travels through the confirmation page in a hidden field and is sent again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

from allauth.account.internal.flows.login import record_authentication
from allauth.core.exceptions import ReauthenticationRequired
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal.auth import begin_authentication
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.cache import add_never_cache_headers

from routekit_site.tenancy.demo import demo_memberships
from routekit_site.tenancy.errors import ReauthenticationNeeded, TooFast
from routekit_site.tenancy.models import User
from routekit_site.tenancy.responses import problem, too_fast, wants_json

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

SESSION_KEY = "confirmed_at"
# A form that is longer is not carried through the page: the person writes it again.
MAX_CARRIED = 512 * 1024
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def note_confirmation(request: HttpRequest, now: datetime) -> None:
    """The person of this session has just proved who they are."""
    request.session[SESSION_KEY] = now.timestamp()
    # django-allauth asks its own record before it changes a second factor.
    record_authentication(request, request.user, "confirmation", reauthenticated=True)


def is_reauthenticated(request: HttpRequest) -> bool:
    """Whether the person proved who they are within `ROUTEKIT_REAUTHENTICATE_MINUTES`."""
    at = request.session.get(SESSION_KEY)
    if not request.user.is_authenticated or not isinstance(at, (int, float)):
        return False
    return 0 <= timezone.now().timestamp() - at < settings.ROUTEKIT_REAUTHENTICATE_SECONDS


def check_reauthenticated(request: HttpRequest) -> None:
    """Let only somebody through who confirmed a short while ago who they are.

    Raises:
        ReauthenticationNeeded: too long ago; the middleware shows the confirmation page.
    """
    if not is_reauthenticated(request):
        raise ReauthenticationNeeded


def confirmation_url(request: HttpRequest) -> str:
    """The address of the confirmation page, which leads back to where the person was."""
    return f"{resolve_url('confirm-identity')}?{urlencode({'next': request.get_full_path()})}"


def carried_fields(request: HttpRequest) -> str:
    """The form that was sent, as JSON `[[name, value], …]` without its token; "" where it is too long or has files."""
    if request.FILES:
        return ""
    pairs = [(name, value) for name, values in request.POST.lists() for value in values]
    text = json.dumps([pair for pair in pairs if pair[0] != "csrfmiddlewaretoken"])
    return text if len(text) <= MAX_CARRIED else ""


def confirmation_page(
    request: HttpRequest, next_page: str, *, carried: str = "", error: str = "", status: int = 200
) -> HttpResponse:
    """The page that asks for a proof; `carried` is what goes on to `next_page` afterwards."""
    facts = {"next": next_page, "carried": carried, "error": error, **_ways(request.user)}
    response = render(request, "account/confirm.html", facts, status=status)
    add_never_cache_headers(response)
    return response


def _ways(user: User | AnonymousUser) -> dict[str, Any]:
    """How this person can prove who they are: `by_button`, `by_code`, `by_provider`, and a passkey's options."""
    kinds = set(Authenticator.objects.filter(user_id=user.pk).values_list("type", flat=True))
    return {
        "by_button": can_confirm_by_button(user),
        "by_password": isinstance(user, User) and user.has_usable_password(),
        "by_code": bool(kinds & {Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES}),
        "passkey": begin_authentication(user) if Authenticator.Type.WEBAUTHN in kinds else None,
        "by_provider": bool(settings.OIDC_ORIGIN) and SocialAccount.objects.filter(user_id=user.pk).exists(),
    }


def can_confirm_by_button(user: User | AnonymousUser) -> bool:
    """Whether a click is proof enough: in demo mode, for those who also sign in with a click."""
    return any(membership.user == user for membership in demo_memberships())


class ReauthenticationMiddleware:
    """Answers `ReauthenticationNeeded` with the confirmation page, and `TooFast` with 429."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """A script is told where to go, a reader is sent there, a form is carried along; 429 where it came too fast."""
        if isinstance(exception, TooFast):
            return too_fast(request, str(exception), exception.seconds)
        if not isinstance(exception, (ReauthenticationNeeded, ReauthenticationRequired)):
            return None
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path() if request.method in _SAFE else resolve_url("home"))
        if wants_json(request):
            return problem(403, str(ReauthenticationNeeded()), confirm=resolve_url("confirm-identity"))
        if request.method in _SAFE:
            return HttpResponseRedirect(confirmation_url(request))
        return confirmation_page(request, request.get_full_path(), carried=carried_fields(request), status=403)
