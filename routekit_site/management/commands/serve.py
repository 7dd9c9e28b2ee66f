"""`manage.py serve`: the whole site in one process."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from routekit_site import embedded
from routekit_site.env import Address, checked_address
from routekit_site.tenancy.demo import PASSWORD, demo_memberships


class Command(BaseCommand):
    """Serves pages, live feed, worker and clock in one process, by default on 127.0.0.1:8000."""

    help = "Serve the whole site in one process: web, worker and beat. For development and small installations."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bind", metavar="HOST:PORT", help="where to listen (default: ROUTEKIT_BIND)")

    def handle(self, **options: Any) -> None:
        try:
            address = checked_address(options["bind"] or settings.ROUTEKIT_BIND, demo=settings.DEMO)
        except ValueError as error:
            message = f"routekit: --bind: {error}"
            raise CommandError(message) from None
        if settings.REDIS_URL:
            raise CommandError(
                "routekit: REDIS_URL is set: start daphne, worker and beat as docker-compose.yml does, or unset it"
            )
        if MigrationExecutor(connection).migration_plan(MigrationExecutor(connection).loader.graph.leaf_nodes()):
            raise CommandError("routekit: the database is not up to date: run manage.py migrate first")
        connection.close()
        try:
            listener = embedded.listen(address)
        except embedded.PortTaken as error:
            message = f"routekit: {error}. Stop what listens there, or choose another with ROUTEKIT_BIND=127.0.0.1:8001"
            raise CommandError(message) from None
        lines = self._banner(address)
        embedded.serve(listener, lambda: self.stdout.write(lines))

    def _banner(self, address: Address) -> str:
        host = f"[{address.host}]" if ":" in address.host else address.host
        lines = [f"RouteKit Site: http://{host}:{address.port}/", ""]
        if settings.DEMO:
            lines += [*self._accounts(), f"Password of each: {PASSWORD}", ""]
        lines.append("Ctrl-C stops.")
        return "\n".join(lines)

    @staticmethod
    def _accounts() -> list[str]:
        accounts = [f"  {m.user.get_username():<8} {m.role:<10} {m.tenant.name}" for m in demo_memberships()]
        connection.close()
        return ["Demo accounts:", *accounts]
