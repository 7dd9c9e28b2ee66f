"""`manage.py replay`: replay a run without any effect and list every difference."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agents import replay
from agents.errors import AgentError
from agents.models import Run
from routekit_site.tenancy.clock import database_now
from traces.replay import tenant_of


class Command(BaseCommand):
    help = "Replay a run: recorded replies and results, today's engine and policy, no side effect."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", type=UUID, help="the run's id")
        parser.add_argument(
            "--live", action="store_true", help="ask the model anew (costs what it costs); tools stay recorded"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print what a replay found.

        Raises:
            CommandError: there are differences, or the run can't be replayed.
        """
        run = Run.objects.select_related("agent", "submitter").filter(pk=options["run"]).first()
        if run is None:
            raise CommandError(_missing(options["run"]))
        try:
            if options["live"]:
                with transaction.atomic(durable=True):
                    replay.note_live(run, "manage.py", now=database_now())
            report = replay.replay(run, now=database_now(), live=options["live"])
        except AgentError as error:
            raise CommandError(str(error)) from error
        self._print(report)

    def _print(self, report: replay.Report) -> None:
        for note in report.notes:
            self.stdout.write(f"note: {note}")
        for each in report.divergences:
            where = f"call {each.position}" if each.position else "the run"
            self.stdout.write(f"{where}, {each.kind}: {each.before or '-'} -> {each.after or '-'}")
        what = f"{report.calls} calls in {report.steps} steps"
        if report.divergences:
            found = len(report.divergences)
            message = f"{found} difference{'s' if found > 1 else ''}; {what}"
            raise CommandError(message)
        self.stdout.write(f"The replay repeated the run: {what}, {report.end}.")


def _missing(run_id: UUID) -> str:
    if tenant_of(run_id) is None:
        return "There is no such run."
    return "The run behind this trace is gone, and with it its agent and recorded replies: nothing can be replayed."
