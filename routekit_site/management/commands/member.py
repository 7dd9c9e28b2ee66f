"""`manage.py member`: tenants and the people in them, for whoever runs the site."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from routekit_site import members
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import LastAdmin
from routekit_site.tenancy.models import Membership, Tenant, User
from routekit_site.tenancy.roles import Role

_ACTOR = "manage.py"
_OVERRULE = "Or say --last-admin: an operator can invite another one afterwards."


class Command(BaseCommand):
    """Lists, adds, changes and removes memberships; each change is an entry of the tenant's ledger."""

    help = "List a tenant's members, give somebody a role (making the tenant and the account if need be), or take it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["list", "set", "remove"])
        parser.add_argument("tenant", metavar="TENANT", help="the tenant's short name, as in addresses")
        parser.add_argument("user", metavar="USER", nargs="?", help="the account's user name")
        parser.add_argument("--role", choices=[role.value for role in Role], help="what the person is in the tenant")
        parser.add_argument(
            "--last-admin", action="store_true", help="remove even the last admin, or change their role"
        )
        parser.add_argument("--tenant-name", metavar="NAME", help="make the tenant, under this name, if there is none")
        parser.add_argument("--email", default="", help="of a new account")
        parser.add_argument("--password-stdin", action="store_true", help="read a new account's password from input")

    def handle(self, **options: Any) -> None:
        if options["act"] == "list":
            self._list(_tenant(options["tenant"], None))
            return
        if not options["user"]:
            raise CommandError("Name the account, too.")
        with transaction.atomic(durable=True):
            if options["act"] == "remove":
                told = _remove(_tenant(options["tenant"], None), options["user"], even_the_last=options["last_admin"])
            else:
                told = _set(_tenant(options["tenant"], options["tenant_name"]), options)
        self.stdout.write(told)

    def _list(self, tenant: Tenant) -> None:
        members = Membership.objects.filter(tenant=tenant).select_related("user").order_by("role", "user__username")
        for each in members:
            away = "" if each.user.is_active else " (account is off)"
            self.stdout.write(f"{each.role:<10} {each.user.get_username():<20} {each.user.display_name}{away}")


def _tenant(slug: str, name: str | None) -> Tenant:
    found = Tenant.objects.filter(slug=slug).first()
    if found is None and name:
        try:
            found = members.make_tenant(slug, name, actor=_ACTOR, now=database_now())
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
    if found is None:
        message = f"There is no tenant {slug}. Give --tenant-name to make it."
        raise CommandError(message)
    return found


def _set(tenant: Tenant, options: dict[str, Any]) -> str:
    role = options["role"]
    if role is None:
        raise CommandError("Say with --role what the person is.")
    user = User.objects.filter(username=options["user"]).first() or _new_user(options)
    try:
        even_the_last = options["last_admin"]
        members.give_role(tenant, user, Role(role), actor=_ACTOR, now=database_now(), even_the_last=even_the_last)
    except LastAdmin as error:
        raise CommandError(f"{error} {_OVERRULE}") from None
    return f"{user.get_username()} is {role} in {tenant.name}."


def _new_user(options: dict[str, Any]) -> User:
    if options["password_stdin"]:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = getpass.getpass(f"Password for the new account {options['user']}: ")
    user = User(username=options["user"], email=options["email"])
    try:
        validate_password(password, user)
        user.set_password(password)
        user.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    user.save()
    return user


def _remove(tenant: Tenant, name: str, *, even_the_last: bool) -> str:
    found = Membership.objects.filter(tenant=tenant, user__username=name).select_related("tenant").first()
    if found is None:
        message = f"{name} is no member of {tenant.name}."
        raise CommandError(message)
    try:
        members.remove(found, actor=_ACTOR, now=database_now(), even_the_last=even_the_last)
    except LastAdmin as error:
        raise CommandError(f"{error} {_OVERRULE}") from None
    return f"{name} is no member of {tenant.name} any more. Live updates of their open pages end at once."
