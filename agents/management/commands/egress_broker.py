"""`manage.py egress_broker`: the one process through which tools reach a network, as a service for all workers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from agents.sandbox.egress import broker
from agents.sandbox.egress.session import SOCKET_VARIABLE

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    help = f"Serve tools' network requests on a unix socket; workers find it through {SOCKET_VARIABLE}."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--socket", default=os.environ.get(SOCKET_VARIABLE, ""), help="path of the unix socket")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 -- Django's own signature
        if not options["socket"]:
            raise CommandError(f"Name the socket's path: --socket /run/routekit/egress.sock, or set {SOCKET_VARIABLE}.")
        with broker.listen(options["socket"]) as listener:
            self.stdout.write(f"egress broker: listening on {options['socket']}")
            broker.main(listener)
