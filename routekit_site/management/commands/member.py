"""`manage.py member`: tenants and the people in them, for whoever runs the site."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Membership, Tenant, User
from routekit_site.tenancy.roles import Role
from traces import ledger
from traces.kinds import LedgerKind

_ACTOR = "manage.py"


class Command(BaseCommand):
    """Lists, adds, changes and removes memberships; each change is an entry of the tenant's ledger."""

    help = "List a tenant's members, give somebody a role (making the tenant and the account if need be), or take it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", choices=["list", "set", "remove"])
        parser.add_argument("tenant", metavar="TENANT", help="the tenant's short name, as in addresses")
        parser.add_argument("user", metavar="USER", nargs="?", help="the account's user name")
        parser.add_argument("--role", choices=[role.value for role in Role], help="what the person is in the tenant")
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
                told = _remove(_tenant(options["tenant"], None), options["user"])
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
        found = Tenant(slug=slug, name=name)
        try:
            found.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        found.save()
    if found is None:
        message = f"There is no tenant {slug}. Give --tenant-name to make it."
        raise CommandError(message)
    return found


def _set(tenant: Tenant, options: dict[str, Any]) -> str:
    role = options["role"]
    if role is None:
        raise CommandError("Say with --role what the person is.")
    user = User.objects.filter(username=options["user"]).first() or _new_user(options)
    before = Membership.objects.filter(user=user, tenant=tenant).values_list("role", flat=True).first()
    Membership.objects.update_or_create(user=user, tenant=tenant, defaults={"role": role})
    _note(tenant, user.get_username(), before, role)
    return f"{user.get_username()} is {role} in {tenant.name}."


def _new_user(options: dict[str, Any]) -> User:
    asked = "" if options["password_stdin"] else getpass.getpass(f"Password for the new account {options['user']}: ")
    password = asked or sys.stdin.readline().rstrip("\n")
    user = User(username=options["user"], email=options["email"])
    try:
        validate_password(password, user)
        user.set_password(password)
        user.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    user.save()
    return user


def _remove(tenant: Tenant, name: str) -> str:
    found = Membership.objects.filter(tenant=tenant, user__username=name).first()
    if found is None:
        message = f"{name} is no member of {tenant.name}."
        raise CommandError(message)
    before = found.role
    found.delete()
    _note(tenant, name, before, None)
    return f"{name} is no member of {tenant.name} any more. Open pages of theirs close within seconds."


def _note(tenant: Tenant, name: str, before: str | None, after: str | None) -> None:
    facts = {"act": "membership", "person": name, "before": before, "after": after}
    ledger.append(tenant_id=tenant.pk, kind=LedgerKind.POLICY_CHANGE, actor=_ACTOR, facts=facts, now=database_now())
