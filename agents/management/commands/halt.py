"""`manage.py halt`: stop an agent, a tenant or the whole site now, from outside of whatever is running."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agents.management.halts import add_target, halts_of, operator, target_of
from approvals import halting
from approvals.errors import BadHalt
from routekit_site.tenancy.clock import database_now


class Command(BaseCommand):
    help = "Throw the kill switch: running tools are killed within a second or so, nothing starts, gates stay."

    def add_arguments(self, parser: CommandParser) -> None:
        add_target(parser)
        parser.add_argument("--reason", help="why, in at most 300 characters; everybody concerned reads it")
        parser.add_argument("--list", action="store_true", help="change nothing; tell what is stopped now")

    def handle(self, **options: Any) -> None:
        """Stop the target. Stopping what is stopped already is no error.

        Raises:
            CommandError: no or no such target, or no reason.
        """
        if options["list"]:
            for each in halts_of(options):
                since = f"{each.halted_at:%Y-%m-%d %H:%M:%S} UTC"
                self.stdout.write(f"{each.what}: since {since} by {each.halted_by}: {each.reason}")
            return
        target = target_of(options)
        try:
            with transaction.atomic(durable=True):
                thrown = halting.halt(target, by=operator(), reason=options["reason"] or "", now=database_now())
        except BadHalt as error:
            raise CommandError(f"--reason: {error}") from error
        self.stdout.write(f"Stopped: {thrown.what}. `manage.py resume` takes it back.")
