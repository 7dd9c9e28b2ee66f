"""`manage.py doctor`: what is wrong with this installation, in plain words."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routekit_site.doctor import examine


class Command(BaseCommand):
    """Prints what was looked at; for each thing that is wrong what to do. Exits with 1 when something is."""

    help = "Look at the whole installation and say in plain words what is wrong and what to do."
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's declaration

    def handle(self, **_options: Any) -> None:
        wrong = 0
        for name, complaints in examine():
            if complaints is None:
                self.stdout.write(f"-     {name}: not looked at before the database is mended")
                continue
            wrong += len(complaints)
            if not complaints:
                self.stdout.write(f"ok    {name}")
            for complaint in complaints:
                self.stdout.write(f"WRONG {complaint.where}: {complaint.what}\n      {complaint.remedy}")
        if wrong:
            message = f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong."
            raise CommandError(message)
        self.stdout.write("Nothing is wrong.")
