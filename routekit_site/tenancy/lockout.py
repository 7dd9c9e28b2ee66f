"""Lock-out after failed sign-ins: who is counted, what is kept of it, and the page that says so.

Kept are counts under a keyed mark of the user name (people type passwords into that field) and the address, for the
15 minutes of the lock-out; never what was sent.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from routekit_site.tenancy.encryption import tenant_key
from routekit_site.tenancy.responses import problem, wants_json

MESSAGE = "Too many failed tries. Wait a quarter of an hour, then try again; or ask an operator to unlock the account."


def username_mark(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """A keyed mark of the user name that was tried: equal for equal names, and nothing else can be told from it."""
    name = (credentials or {}).get("username") or request.POST.get("username", "")
    return mark_of(str(name))


def mark_of(name: str) -> str:
    """The mark of one user name."""
    return hmac.digest(tenant_key(0, "sign-in"), name.encode("utf-8", "replace"), "sha256").hex()


class LockoutHandler(AxesDatabaseHandler):  # type: ignore[misc]
    """django-axes' own counting, without what the request held."""

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
    ) -> None:
        """Count one failure."""
        if request is None:
            return
        kept = request.GET, request.POST
        # For whoever hears of the lock-out while the request is bare.
        request.tried_name = credentials.get("username", "")  # type: ignore[attr-defined]
        try:
            request.GET, request.POST = QueryDict(), QueryDict()
            request.axes_user_agent = request.axes_http_accept = ""  # type: ignore[attr-defined]
            super().user_login_failed(sender, credentials, request, **kwargs)
        finally:
            request.GET, request.POST = kept


def locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: Mapping[str, Any] | None = None
) -> HttpResponse:
    """429: the same page whether the account exists or not."""
    del response, credentials
    if wants_json(request):
        answer: HttpResponse = problem(429, MESSAGE)
    else:
        answer = render(request, "account/locked.html", {"message": MESSAGE}, status=429)
    answer["Retry-After"] = str(int(settings.AXES_COOLOFF_TIME.total_seconds()))
    return answer
