"""`manage.py member`: tenants and people are made, changed and removed, and the tenant's ledger knows."""

from __future__ import annotations

import getpass
import io
import secrets
import sys

import pytest
from django.core.management import CommandError, call_command

from routekit_site.tenancy.models import Membership, Tenant, User
from traces import ledger
from traces.models import LedgerEntry

pytestmark = pytest.mark.django_db(transaction=True)


def member(*arguments: str) -> str:
    out = io.StringIO()
    call_command("member", *arguments, stdout=out)
    return out.getvalue()


def test_a_tenant_and_its_first_person_are_made_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    password = secrets.token_urlsafe(16)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
    told = member("set", "northwind", "nora", "--role", "admin", "--tenant-name", "Northwind", "--password-stdin")
    assert told == "nora is admin in Northwind.\n"
    assert User.objects.get(username="nora").check_password(password)
    tenant = Tenant.objects.get(slug="northwind")
    assert "admin      nora" in member("list", "northwind")

    with pytest.raises(CommandError, match="Make somebody else an admin first"):
        member("set", "northwind", "nora", "--role", "reviewer")
    with pytest.raises(CommandError, match="--last-admin"):
        member("remove", "northwind", "nora")
    assert Membership.objects.get(tenant=tenant).role == "admin"
    member("set", "northwind", "nora", "--role", "reviewer", "--last-admin")
    assert Membership.objects.get(tenant=tenant).role == "reviewer"
    member("remove", "northwind", "nora")
    assert not Membership.objects.filter(tenant=tenant).exists()
    entries = LedgerEntry.objects.filter(tenant=tenant).order_by("number")
    facts = [ledger.facts_of(entry) for entry in entries]
    assert [each["act"] for each in facts] == ["tenant made", *["membership"] * 3]
    assert [each["after"] for each in facts[1:]] == ["admin", "reviewer", None]
    assert not list(ledger.verify(tenant.pk))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("list", "nowhere"), "no tenant nowhere"),
        (("set", "no where", "nora", "--role", "admin", "--tenant-name", "X"), "slug"),
        (("set", "northwind", "nora", "--tenant-name", "X"), "--role"),
        (("set", "northwind", "--role", "admin", "--tenant-name", "X"), "Name the account"),
        (("set", "northwind", "nora", "--role", "admin", "--tenant-name", "X", "--password-stdin"), "too short"),
        (("set", "northwind", "n ora", "--role", "admin", "--tenant-name", "X", "--password-stdin"), "."),
        (("remove", "northwind", "nora"), "no tenant"),
    ],
)
def test_what_cannot_be_done_leaves_nothing_behind(
    arguments: tuple[str, ...], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    with pytest.raises(CommandError, match=complaint):
        member(*arguments)
    assert not Tenant.objects.exists()
    assert not User.objects.exists()


def test_no_password_at_the_prompt_is_none_and_no_second_line_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed into a second line would be seen on the screen."""
    monkeypatch.setattr(getpass, "getpass", lambda _prompt: "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{secrets.token_urlsafe(16)}\n"))
    with pytest.raises(CommandError, match="too short"):
        member("set", "northwind", "nora", "--role", "admin", "--tenant-name", "Northwind")
    assert not User.objects.exists()
