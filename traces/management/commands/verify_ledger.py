"""`manage.py verify_ledger`: check the hash chain of every tenant's ledger."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routekit_site.tenancy.models import Tenant
from traces import ledger
from traces.models import TenantHead


class Command(BaseCommand):
    help = "Check the ledger's hash chain; names every entry that is changed, missing, inserted or reordered."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="only this tenant's ledger")
        parser.add_argument("--expect", metavar="HASH", help="a hash noted earlier, which the ledger must still hold")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print a line for each tenant.

        Raises:
            CommandError: a chain is broken, an expected hash is gone, or there is no such tenant.
        """
        tenants = Tenant.objects.order_by("slug")
        if options["tenant"]:
            tenants = tenants.filter(slug=options["tenant"])
            if not tenants:
                message = f"there is no tenant {options['tenant']!r}"
                raise CommandError(message)
        expected = options["expect"]
        if expected and not any(ledger.holds_hash(tenant.pk, expected) for tenant in tenants):
            message = f"{expected} is not in the ledger"
            raise CommandError(message)
        faults = [f"{tenant.slug}: {fault.message}" for tenant in tenants for fault in self._verify(tenant)]
        if faults:
            raise CommandError("\n".join(faults))

    def _verify(self, tenant: Tenant) -> list[ledger.Fault]:
        faults = ledger.verify(tenant.pk)
        head = TenantHead.objects.filter(pk=tenant.pk).first() or TenantHead(tenant=tenant)
        if not faults:
            self.stdout.write(f"{tenant.slug}: {head.ledger_number} entries, head {head.ledger_hash}")
        return faults
