"""`manage.py reseal_state`: sign what unfinished runs keep under the newest key, before an old key is dropped."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents.models import Run
from agents.runs.resealing import reseal_all


class Command(BaseCommand):
    help = "Sign the state of unfinished runs under the first key of ROUTEKIT_ENCRYPTION_KEYS; safe while workers run."

    def handle(self, **_options: Any) -> None:
        """Sign them.

        Raises:
            CommandError: some were changed behind the application's back, or no key opens them; they are named.
        """
        failed = reseal_all()
        if failed:
            names = ", ".join(str(run_id) for run_id in failed)
            raise CommandError(f"Not as the application wrote them, or sealed under a missing key: runs {names}")
        self.stdout.write(f"{Run.objects.unfinished().count()} unfinished runs are signed under the newest key.")
