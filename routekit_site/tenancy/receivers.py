"""What a sign-in starts, by whichever way: the session's two clocks, and the time for which it counts as a proof."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils import timezone

from routekit_site.tenancy import sessions
from routekit_site.tenancy.models import User
from routekit_site.tenancy.reauthentication import note_confirmation


def on_sign_in(sender: object, request: HttpRequest, user: User, **kwargs: object) -> None:
    """Start the clocks."""
    del sender, kwargs
    now = timezone.now()
    request.user = user
    sessions.start(request.session, now)
    note_confirmation(request, now)
