"""Sign-ins that pass django-allauth by: the demo's buttons and the terminal. Announced as its own are."""

from __future__ import annotations

from allauth.account.internal.flows.login import record_authentication
from allauth.account.signals import user_logged_in
from django.http import HttpRequest

from routekit_site.tenancy.models import User


def announce_sign_in(request: HttpRequest, user: User, way: str) -> None:
    """Tell whoever listens to sign-ins (the ledger does) that `user` came in, and which way.

    Raises whatever a listener raises: who can't be put on record does not come in.
    """
    record_authentication(request, user, way)
    user_logged_in.send(sender=User, request=request, user=user, response=None)
