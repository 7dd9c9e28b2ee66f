"""People at a terminal: who they are, in which tenant they act, and how they are answered.

A command acts for one person, with that person's memberships, as a page does. Whoever can start it can read the
installation's environment, but a decision still carries a person's name: so the password is asked for, except in demo
mode, whose passwords are public.
"""

from __future__ import annotations

import getpass
import json
import sys
from abc import abstractmethod
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth import authenticate
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.session_store import SessionStore
from routekit_site.tenancy.signing_in import announce_sign_in

# A terminal can't ask for a passkey, and a password alone must not stand in for what a browser asks besides.
SECOND_STEP = "This account signs in with a second step, which a terminal can't take. Use the browser."
REFUSED = "There is no active account of that name and password."


class PersonCommand(BaseCommand):
    """A command that one person gives. Subclasses implement `act` and name the errors that are answers to a person."""

    answers: tuple[type[Exception], ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--as", dest="person", metavar="NAME", required=True, help="the account that acts")
        parser.add_argument("--tenant", metavar="SLUG", help="where it acts; needed by members of several tenants")
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from the first line of standard input"
        )

    def handle(self, **options: Any) -> None:
        user = self._person(options["person"], from_input=options["password_stdin"])
        membership = _membership(user, options["tenant"])
        request = _at_terminal()
        request.session = SessionStore()
        announce_sign_in(request, user, "terminal of the demo" if settings.DEMO else "password at a terminal")
        try:
            self.act(user, membership, options)
        except self.answers as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped looking. What was sent stays sent.") from None

    @abstractmethod
    def act(self, user: User, membership: Membership, options: dict[str, Any]) -> None:
        """Do it, as `user` in the membership's tenant."""

    def print_json(self, value: Any) -> None:
        """One JSON document on standard output; times in ISO 8601."""
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder))

    def _person(self, name: str, *, from_input: bool) -> User:
        if settings.DEMO:
            known = User.objects.filter(username=name, is_active=True).first()
            if known is None:
                message = f"There is no demo account named {name}."
                raise CommandError(message)
            return known
        password = sys.stdin.readline().rstrip("\n") if from_input else getpass.getpass(f"Password of {name}: ")
        user = authenticate(_at_terminal(), username=name, password=password)
        if not isinstance(user, User):
            raise CommandError(REFUSED)
        if Authenticator.objects.filter(user=user).exists():
            raise CommandError(SECOND_STEP)
        return user


def _at_terminal() -> HttpRequest:
    """What stands for a request where there is none."""
    request = HttpRequest()
    request.META.update({"REMOTE_ADDR": "127.0.0.1", "HTTP_USER_AGENT": "manage.py"})
    return request


def _membership(user: User, slug: str | None) -> Membership:
    found = list(Membership.objects.filter(user=user).select_related("tenant").order_by("tenant__slug"))
    if slug is not None:
        found = [membership for membership in found if membership.tenant.slug == slug]
    if not found:
        raise CommandError("There is no such tenant that this account is a member of.")
    if len(found) > 1:
        names = ", ".join(membership.tenant.slug for membership in found)
        message = f"This account is a member of several tenants ({names}): choose one with --tenant."
        raise CommandError(message)
    return found[0]
