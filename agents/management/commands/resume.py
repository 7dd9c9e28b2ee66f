"""`manage.py resume`: take back what `manage.py halt`, or a page of the admin, has stopped."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agents.management.halts import add_target, halts_of, operator, target_of
from approvals import halting
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Halt


class Command(BaseCommand):
    help = "Take the kill switch back: runs go on where they stood."

    def add_arguments(self, parser: CommandParser) -> None:
        add_target(parser)

    def handle(self, **options: Any) -> None:
        """Lift the halt of exactly this target; a wider one goes on standing, and is named.

        Raises:
            CommandError: the target is not stopped.
        """
        target = target_of(options)
        found = Halt.objects.standing().filter(scope=target.scope).first()
        if found is None:
            raise CommandError("This is not stopped by a halt of its own. `manage.py halt --list` tells what is.")
        with transaction.atomic(durable=True):
            lifted = halting.lift(found.pk, by=operator(), now=database_now())
        self.stdout.write(f"Lifted: {lifted.what}.")
        for each in halts_of(options):
            self.stdout.write(f"Still stopped: {each.what} ({each.reason}).")
