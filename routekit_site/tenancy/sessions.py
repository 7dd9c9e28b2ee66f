"""How long a session lives: so long without a request, and so long at most."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

STARTED = "started_at"
SEEN = "seen_at"
# What a session holds of its own time; Django's name for the second.
CLOCKS = frozenset({SEEN, "_session_expiry"})
# A session is written again when this much of its idle time has passed, not on every request.
_STEP = 60.0


def start(session: SessionBase, now: datetime) -> None:
    """A sign-in begins: both clocks start."""
    session[STARTED] = now.timestamp()
    touch(session, now)


def touch(session: SessionBase, now: datetime) -> None:
    """The person was here: the session ends when the idle time has passed, or at its absolute end if that is sooner."""
    session[SEEN] = now.timestamp()
    end = session[STARTED] + settings.ROUTEKIT_SESSION_SECONDS
    left = min(settings.ROUTEKIT_SESSION_IDLE_SECONDS, end - now.timestamp())
    session.set_expiry(now + timedelta(seconds=max(0, left)))


def is_over(session: SessionBase, now: datetime) -> bool:
    """Whether one of the two clocks has run out."""
    started, seen = session.get(STARTED), session.get(SEEN)
    if not isinstance(started, (int, float)) or not isinstance(seen, (int, float)):
        return True
    idle, age = now.timestamp() - seen, now.timestamp() - started
    return idle >= settings.ROUTEKIT_SESSION_IDLE_SECONDS or age >= settings.ROUTEKIT_SESSION_SECONDS


class SessionLifetimeMiddleware:
    """Ends sessions whose time is over; a socket that is open under one is closed by the feed's own look."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            now = timezone.now()
            if is_over(request.session, now):
                logout(request)
            elif now.timestamp() - request.session[SEEN] >= _STEP:
                touch(request.session, now)
        return self.get_response(request)
