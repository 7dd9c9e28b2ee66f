"""`manage.py simulate_policy acme draft.json`: what a draft allow-list would have changed in the last 30 days."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from approvals import allow_list
from approvals.errors import BadAllowList
from approvals.models import ToolAllowance
from approvals.simulation import LIMIT, draft, simulate
from routekit_site.tenancy.models import Tenant


class Command(BaseCommand):
    """Lists every recorded verdict of a tenant that a draft allow-list would change. Saves nothing."""

    help = "List the recorded verdicts of the last 30 days that a draft allow-list would change."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tenant", help="the tenant's slug")
        parser.add_argument("file", type=Path, help="an allow-list as the admin exports it (JSON)")
        parser.add_argument("--replace", action="store_true", help="tools that the file does not name are taken off")
        parser.add_argument("--limit", type=int, default=LIMIT, help="look at that many calls at most, newest first")

    def handle(self, *_args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            message = f"There is no tenant called {options['tenant']}."
            raise CommandError(message)
        try:
            rows = allow_list.read(tenant.pk, json.loads(options["file"].read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            message = f"{options['file']} can't be read: {error}"
            raise CommandError(message) from error
        except BadAllowList as error:
            raise CommandError("\n".join(error.problems)) from error
        named = {row.tool for row in rows}
        known = ToolAllowance.objects.filter(tenant=tenant).values_list("tool", flat=True)
        removed = [tool for tool in known if tool not in named] if options["replace"] else []
        facts = draft(tenant.pk, changed=rows, removed=removed)
        found = simulate(tenant.pk, facts, now=timezone.now(), limit=options["limit"])
        for change in found.changed:
            past = change.past
            self.stdout.write(
                f"{past.at:%Y-%m-%d %H:%M} {past.call.tool} run {past.run_id}: "
                f"{change.before} -> {change.after}: {change.verdict.reason}"
            )
        self.stdout.write(f"{found.looked_at} calls looked at, {len(found.changed)} verdicts would change.")
