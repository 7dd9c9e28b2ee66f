"""Puts the person's current tenant on the request, and turns access errors into 404 and 403."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse

from routekit_site.tenancy.access import remembering
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import Membership, User

SESSION_KEY = "tenant_id"
_SHOWS = frozenset({"GET", "HEAD"})


class TenantRequest(HttpRequest):
    """A request of a signed-in person; `membership` is None for somebody who belongs to no tenant."""

    user: User
    membership: Membership | None
    memberships: list[Membership]


def current_membership(request: TenantRequest) -> Membership:
    """The membership that the person works under now.

    Raises:
        NotVisible: the person belongs to no tenant.
    """
    if request.membership is None:
        message = "You belong to no tenant yet. Ask an admin of yours to add you."
        raise NotVisible(message)
    return request.membership


class CurrentTenantMiddleware:
    """Reads the person's memberships once a request and picks the one chosen in the header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: TenantRequest) -> HttpResponse:
        request.memberships = []
        if request.user.is_authenticated:
            found = Membership.objects.select_related("tenant").filter(user_id=request.user.pk).order_by("tenant__name")
            request.memberships = list(found)
        chosen = request.session.get(SESSION_KEY)
        by_tenant = {membership.tenant_id: membership for membership in request.memberships}
        request.membership = by_tenant.get(chosen or 0) or next(iter(request.memberships), None)
        # A stream is written after this, and reads afresh.
        with remembering() if request.method in _SHOWS else nullcontext():
            return self.get_response(request)

    def process_exception(self, _request: HttpRequest, exception: Exception) -> None:
        """404 for a stranger, 403 for a member without the capability; Django renders both."""
        if isinstance(exception, NotVisible):
            raise Http404(str(exception)) from exception
        if isinstance(exception, NotAllowed):
            raise PermissionDenied(str(exception)) from exception
