"""Who listens to sign-ins: the ledger notes them.

Note [Failures cost the same]: a failed try looks the name up and rings a task, whether there is such an account or not;
only the task knows. Writing the entry here would let anybody tell by the clock which names exist.
"""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.account.signals import user_logged_in
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from axes.signals import user_locked_out
from celery import current_app
from celery.exceptions import OperationalError
from django.contrib.auth.signals import user_login_failed
from django.db.models.signals import ModelSignal
from django.dispatch import Signal
from django.http import HttpRequest

from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User
from traces import sign_ins

logger = logging.getLogger(__name__)

_CHANGES: dict[Signal | ModelSignal, str] = {
    authenticator_added: "second step added",
    authenticator_removed: "second step removed",
    authenticator_reset: "second step renewed",
}


def on_sign_in(request: HttpRequest, user: User, **_kwargs: Any) -> None:
    """Somebody came in, by whichever ways the session tells."""
    ways = [str(record.get("method", "")) for record in get_authentication_records(request, user)]
    # A sign-in counts as a confirmation; that is none of its ways.
    steps = [way for way in dict.fromkeys(ways) if way != "confirmation"]
    sign_ins.note(user, "sign-in", now=database_now(), by=" and ".join(steps))


def on_failure(credentials: dict[str, Any], **_kwargs: Any) -> None:
    """Somebody was refused (see Note [Failures cost the same])."""
    _ring(str(credentials.get("username", "")), "failed sign-in")


def on_lock_out(request: HttpRequest, **_kwargs: Any) -> None:
    """Too many were."""
    _ring(str(getattr(request, "tried_name", "")), "lock-out")


def _ring(name: str, act: str) -> None:
    found = User.objects.filter(username=name).values_list("pk", flat=True).first()
    try:
        current_app.send_task("traces.tasks.note_failure", kwargs={"user_id": found or 0, "act": act}, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("a failed sign-in was not noted: the broker does not answer (%s)", type(error).__name__)


def on_change(signal: Signal, user: User, authenticator: Authenticator, **_kwargs: Any) -> None:
    """A second step came, went or was made anew."""
    sign_ins.note(user, _CHANGES[signal], now=database_now(), kind=str(authenticator.type))


def listen() -> None:
    """Connect them all, once a process."""
    user_logged_in.connect(on_sign_in, dispatch_uid="routekit.note_sign_in")
    user_login_failed.connect(on_failure, dispatch_uid="routekit.note_failure")
    user_locked_out.connect(on_lock_out, dispatch_uid="routekit.note_lock_out")
    for signal in _CHANGES:
        signal.connect(on_change, dispatch_uid="routekit.note_change")
