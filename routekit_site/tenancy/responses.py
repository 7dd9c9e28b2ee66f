"""How every view answers: pages for people, JSON for the scripts on those pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render, resolve_url

from routekit_site.tenancy.middleware import TenantRequest

P = ParamSpec("P")
# In the sign-in page's address: a form was sent by somebody who was signed out meanwhile.
UNSENT = "unsent"


def wants_json(request: HttpRequest) -> bool:
    """Whether the answer goes to a script: an address that ends in `.json`, or an Accept header that prefers JSON."""
    if request.path.endswith(".json"):
        return True
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def problem(status: int, message: str, **facts: Any) -> JsonResponse:
    """A JSON refusal: `{"error": message, ...}`."""
    return JsonResponse({"error": message, **facts}, status=status)


def too_fast(request: HttpRequest, message: str, seconds: int) -> HttpResponse:
    """429, and when to come again."""
    facts = {"status": 429, "heading": "Too fast", "message": message}
    answer = problem(429, message) if wants_json(request) else render(request, "error.html", facts, status=429)
    answer["Retry-After"] = str(seconds)
    return answer


def _unsent(request: HttpRequest) -> HttpResponse:
    """To the sign-in page, and from there to the page that held the form. An address that only takes POST is none."""
    page = urlsplit(request.headers.get("Referer", ""))
    if page.netloc != request.get_host():
        return redirect_to_login(resolve_url("home"))
    there = urlunsplit(("", "", page.path or "/", page.query, ""))
    return HttpResponseRedirect(f"{resolve_url('sign-in')}?{urlencode({'next': there, UNSENT: 'yes'}, safe='/')}")


def signed_in(
    view: Callable[Concatenate[TenantRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Let only signed-in people through: a page sends others to sign in, JSON answers 401."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.user.is_authenticated:
            return view(cast("TenantRequest", request), *args, **kwargs)
        if wants_json(request):
            return problem(401, "You are signed out. Sign in again to go on.", sign_in=resolve_url("sign-in"))
        if request.method == "POST":
            return _unsent(request)
        # An address that only takes other methods can't be the place to return to.
        return redirect_to_login(request.get_full_path() if request.method == "GET" else resolve_url("home"))

    return guarded
