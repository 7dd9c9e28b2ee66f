"""The start page and the pages for what went wrong."""

from __future__ import annotations

import logging
import sys

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views.decorators.http import require_safe

from routekit_site.tenancy.middleware import TenantRequest
from routekit_site.tenancy.outages import RETRY_AFTER, cause, is_outage
from routekit_site.tenancy.responses import problem, signed_in, wants_json
from routekit_site.tenancy.roles import Capability, capabilities_of

logger = logging.getLogger(__name__)

# The first page on this list that the person's role opens is where their day starts.
_STARTS = (
    (Capability.VIEW_QUEUE, "queue"),
    (Capability.VIEW_TRACES, "admin:index"),
    (Capability.VIEW_OWN_RUNS, "jobs"),
)


@require_safe
@signed_in
def home(request: TenantRequest) -> HttpResponse:
    """Send the person to where their work is."""
    if request.membership is None:
        return render(request, "no_tenant.html")
    held = capabilities_of(request.membership.role)
    return HttpResponseRedirect(resolve_url(next(page for capability, page in _STARTS if capability in held)))


def _error(request: HttpRequest, status: int, heading: str, message: str) -> HttpResponse:
    if wants_json(request):
        return problem(status, message)
    facts = {"status": status, "heading": heading, "message": message}
    return render(request, "error.html", facts, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400: what came can't be read. The exception's words are for the log, they may repeat what was sent."""
    if isinstance(exception, RequestDataTooBig):
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20
        return _error(
            request, 413, "That is too much", f"At most {most} MB can be sent at once. Go back and shorten it."
        )
    return _error(request, 400, "That request can't be read", "Go back, load the page again and try once more.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403: a member without the capability, told what to do."""
    message = str(exception) or "Your role does not allow this. Ask an admin of your tenant."
    return _error(request, 403, "Not with your role", message)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404: nothing here, or nothing that this person may know of. Both look the same."""
    del exception
    message = "There is nothing here that you can see. It may belong to another tenant: check which one you work in."
    return _error(request, 404, "Nothing here", message)


def server_error(request: HttpRequest) -> HttpResponse:
    """500, without anything that could fail a second time: no session, no database; 503 when the database is away."""
    error = sys.exception()
    if is_outage(error):
        logger.warning("the database can't be used (%s): a request was answered with 503", cause(error))
        return _without_database(request)
    message = "Something broke on our side. Nothing was decided or run by this request. Try again in a moment."
    return _bare(request, 500, "Something broke", message)


def _without_database(request: HttpRequest) -> HttpResponse:
    message = (
        "The database can't be used at the moment. What you sent was most likely not stored; sending it again is safe, "
        "because nothing counts twice. Try again in a few seconds."
    )
    answer = _bare(request, 503, "Back in a moment", message)
    answer["Retry-After"] = str(RETRY_AFTER)
    return answer


def _bare(request: HttpRequest, status: int, heading: str, message: str) -> HttpResponse:
    if wants_json(request):
        return problem(status, message)
    bare = HttpRequest()
    bare.META = {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    facts = {"status": status, "heading": heading, "message": message}
    return render(bare, "500.html", facts, status=status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 of the forgery check: usually a page that was open across a sign-in."""
    del reason
    message = (
        "This page was open for too long, or cookies are off. Nothing was done. Load the page again and repeat it."
    )
    return _error(request, 403, "This form is out of date", message)
