"""`manage.py approve`: let a waiting call run, after showing all of it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from approvals.models import ApprovalGate
from approvals.terminal import DecisionCommand, needs_name


class Command(DecisionCommand):
    """Runs where the signing key is, which is the web tier: a worker can't approve."""

    help = "Approve a waiting call after showing it in full."
    kind = "approve"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--confirm", metavar="TOOL", default="", help="the tool's name, for a call of high risk")

    def confirmation(self, gate: ApprovalGate, options: dict[str, Any]) -> tuple[str, str]:
        if needs_name(gate):
            return gate.tool, options["confirm"]
        return "yes", "yes"
