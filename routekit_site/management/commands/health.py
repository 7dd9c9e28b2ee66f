"""`manage.py health`: what `/readyz` says, for a process that has no port."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routekit_site.health import CHECKS, findings


class Command(BaseCommand):
    """Prints one line a check; exits with 1 when one failed."""

    help = "Check database, migrations, broker, sweep and sandbox; exits with 1 when something is wrong."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's declaration

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"one of {', '.join(CHECKS)} (default: all)")

    def handle(self, **options: Any) -> None:
        unknown = set(options["checks"]) - set(CHECKS)
        if unknown:
            message = f"no such check: {', '.join(sorted(unknown))}"
            raise CommandError(message)
        found = findings(tuple(options["checks"]) or tuple(CHECKS))
        for finding in found:
            self.stdout.write(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}")
        if not all(finding.ok for finding in found):
            raise CommandError("something is wrong, see above")
