"""The page on which somebody who is signed in proves once more who they are."""

from __future__ import annotations

import json
from typing import Any

from allauth.mfa.base.forms import ReauthenticateForm
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.passkey_forms import ConfirmPasskeyForm
from routekit_site.tenancy.provider import leads_to_provider
from routekit_site.tenancy.reauthentication import can_confirm_by_button, confirmation_page, note_confirmation
from routekit_site.tenancy.responses import signed_in

_WRONG = "That is not this account's password. Nothing was done: try again."


def local_page(request: HttpRequest, wanted: str) -> str:
    """`wanted` when it is an address of this site, else the start page."""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else resolve_url("home")


def _carried(text: str) -> list[tuple[str, str]]:
    """The form that waits to be sent again; nothing where the field holds anything else."""
    try:
        pairs: Any = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return []
    if not isinstance(pairs, list):
        return []
    fits = all(isinstance(pair, list) and [type(part) for part in pair] == [str, str] for pair in pairs)
    return [(name, value) for name, value in pairs] if fits else []


def _by_button(request: TenantRequest) -> str:
    return "" if can_confirm_by_button(request.user) else "Type your password."


def _by_password(request: TenantRequest) -> str:
    password = request.POST.get("password", "")
    found = authenticate(request, username=request.user.get_username(), password=password)
    return "" if found is not None and found.pk == request.user.pk else _WRONG


def _by_code(request: TenantRequest) -> str:
    return _first_error(ReauthenticateForm(request.POST, user=request.user))


def _by_passkey(request: TenantRequest) -> str:
    return _first_error(ConfirmPasskeyForm(request.POST, user=request.user))


def _first_error(form: Any) -> str:
    """What is wrong with a form of django-allauth's; a valid one is recorded as used."""
    if not form.is_valid():
        return str(next(iter(form.errors.values()))[0])
    form.save()
    return ""


_WAYS = {"button": _by_button, "password": _by_password, "code": _by_code, "passkey": _by_passkey}


def _proved(request: TenantRequest) -> str:
    """What is wrong with the proof that was sent; "" when it holds."""
    return _WAYS.get(request.POST.get("by", ""), _by_password)(request)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@leads_to_provider
@signed_in
def confirm(request: TenantRequest) -> HttpResponse:
    """Ask for a proof; after it go back, or show the form that waited with a button that sends it."""
    sent = request.POST if request.method == "POST" else request.GET
    next_page, text = local_page(request, sent.get("next", "")), request.POST.get("carried", "")
    if request.method != "POST":
        return confirmation_page(request, next_page)
    problem = _proved(request)
    if problem:
        return confirmation_page(request, next_page, carried=text, error=problem, status=422)
    request.session.cycle_key()
    note_confirmation(request, timezone.now())
    waiting = _carried(text)
    if not waiting:
        return HttpResponseRedirect(next_page)
    return render(request, "account/send_again.html", {"next": next_page, "waiting": waiting})
