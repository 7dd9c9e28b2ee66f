"""`manage.py verify_approvals`: check every stored approval with the public keys."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.verification import verify_gates
from routekit_site.tenancy.models import Tenant


class Command(BaseCommand):
    help = "Check each gate's digests and each decision's signature; names every gate that does not hold."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="only this tenant's approvals")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print a line for each tenant.

        Raises:
            CommandError: something does not hold, there is no such tenant, or no public key to check with.
        """
        if not settings.ROUTEKIT_VERIFY_KEYS:
            raise CommandError("ROUTEKIT_VERIFY_KEYS is empty: there is no public key to check signatures with")
        tenants = Tenant.objects.order_by("slug")
        if options["tenant"]:
            tenants = tenants.filter(slug=options["tenant"])
            if not tenants:
                message = f"there is no tenant {options['tenant']!r}"
                raise CommandError(message)
        faults = [line for tenant in tenants for line in self._verify(tenant)]
        if faults:
            raise CommandError("\n".join(faults))

    def _verify(self, tenant: Tenant) -> list[str]:
        faults: list[str] = []
        gates = decisions = 0
        for finding in verify_gates(tenant.pk):
            gates, decisions = gates + 1, decisions + finding.decisions
            faults += [f"{tenant.slug}: gate {finding.gate_id}: {fault}" for fault in finding.faults]
        if not faults:
            self.stdout.write(f"{tenant.slug}: {gates} gates and {decisions} decisions hold")
        return faults
