"""`manage.py rotate_keys`: seal everything again under the newest key, and what should be sealed and is not yet."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Tenant
from traces import encrypting, ledger, rotation
from traces.kinds import LedgerKind


class Command(BaseCommand):
    help = "Encrypt everything that is stored encrypted under the newest key again, while the system runs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing; fail if an older key is still needed")
        parser.add_argument("--batch", type=int, default=rotation.BATCH, help="rows a transaction (default: 100)")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Rotate column by column and print a line for each.

        Raises:
            CommandError: a value opens under no key; or, with --check, an older key is still needed.
        """
        if options["batch"] < 1:
            message = "--batch must be 1 or more"
            raise CommandError(message)
        batch, dry = options["batch"], options["check"]
        counts = [
            self._told(rotation.rotate(each, batch=batch, dry=dry), options) for each in rotation.sealed_columns()
        ]
        counts.append(self._told(rotation.rotate_second_factors(dry=dry), options))
        if not options["check"]:
            _note(counts)
        self._in_clear(check=options["check"])
        self._conclude(counts, check=options["check"])

    def _told(self, count: rotation.Count, options: dict[str, Any]) -> rotation.Count:
        left = "under an older key" if options["check"] else "changed meanwhile"
        self.stdout.write(
            f"{count.column}: {count.current} under the newest key, {count.resealed} encrypted again, "
            f"{count.changed} {left}, {count.unreadable} unreadable"
        )
        return count

    def _in_clear(self, *, check: bool) -> None:
        """Encrypt what tenants that ask for encryption stored before they did, as the clock does too."""
        for tenant in Tenant.objects.filter(pk__in=encrypting.tenants()).order_by("slug"):
            if check:
                left, exact = encrypting.in_clear(tenant.pk)
                if left:
                    more = "" if exact else "more than "
                    self.stdout.write(f"{tenant.slug}: {more}{left} traces are still stored in clear")
                continue
            done = 0
            while rows := _encrypted(tenant.pk):
                done += rows
            with transaction.atomic(durable=True):
                encrypting.note(tenant.pk, done, "manage.py", database_now())
            if done:
                self.stdout.write(f"{tenant.slug}: {done} values of traces were in clear, now encrypted")

    def _conclude(self, counts: list[rotation.Count], *, check: bool) -> None:
        lost = [f"{count.column} {', '.join(count.named)}" for count in counts if count.unreadable]
        if lost:
            message = (
                "Some values open under no key of ROUTEKIT_ENCRYPTION_KEYS. Put the missing key back and run this "
                "again; without it they are lost. Rows: " + "; ".join(lost)
            )
            raise CommandError(message)
        if any(count.changed for count in counts):
            message = "Run rotate_keys (again) before you take an old key away."
            if check:
                raise CommandError(message)
            self.stdout.write(message)
            return
        self.stdout.write("Everything sealed is under the newest key. After reseal_state, too, older keys can go.")


def _encrypted(tenant_id: int) -> int:
    with transaction.atomic(durable=True):
        return encrypting.encrypt(tenant_id)


def _note(counts: list[rotation.Count]) -> None:
    """One ledger entry a tenant, when anything was done at all."""
    done = sum(count.resealed for count in counts)
    if not done:
        return
    facts = {
        "what": "encryption keys rotated",
        "values": done,
        "columns": len(counts),
        "unreadable": sum(count.unreadable for count in counts),
    }
    for tenant in Tenant.objects.order_by("pk"):
        with transaction.atomic(durable=True):
            ledger.append(
                tenant_id=tenant.pk,
                kind=LedgerKind.POLICY_CHANGE,
                actor="manage.py",
                facts=facts,
                now=database_now(),
            )
