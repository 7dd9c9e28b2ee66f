"""`manage.py security_checklist`: the eight items for each tenant; exits with 1 when one does not hold."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routekit_site.security_checklist import Item, checklist
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Tenant


class Command(BaseCommand):
    """For a terminal, and for whatever looks every night."""

    help = "Check the security checklist of every tenant, or of one; exit non-zero when an item fails."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="only this tenant")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        tenants = Tenant.objects.order_by("slug")
        if options["tenant"]:
            tenants = tenants.filter(slug=options["tenant"])
            if not tenants:
                message = f"There is no tenant {options['tenant']}."
                raise CommandError(message)
        now = database_now()
        found = {tenant.slug: checklist(tenant, now) for tenant in tenants}
        if options["json"]:
            self.stdout.write(json.dumps({slug: [asdict(item) for item in items] for slug, items in found.items()}))
        else:
            self.stdout.write("\n".join(line for slug, items in found.items() for line in _lines(slug, items)))
        failing = sum(not item.holds for items in found.values() for item in items)
        if failing:
            message = f"{failing} item{'s do' if failing > 1 else ' does'} not hold."
            raise CommandError(message)


def _lines(slug: str, items: list[Item]) -> list[str]:
    lines = [slug]
    for item in items:
        lines.append(f"  {'ok  ' if item.holds else 'FAIL'}  {item.title}: {item.found}")
        if not item.holds:
            lines.append(f"        {item.mend}")
    return lines
