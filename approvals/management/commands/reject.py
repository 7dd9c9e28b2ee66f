"""`manage.py reject`: refuse a waiting call; the model is told the reason."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from approvals.models import ApprovalGate
from approvals.terminal import DecisionCommand


class Command(DecisionCommand):
    """Refuses a call; the run goes on with the reason as the call's result."""

    help = "Reject a waiting call; the model is told the reason."
    kind = "reject"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why, for the model and for the trace")

    def confirmation(self, gate: ApprovalGate, options: dict[str, Any]) -> tuple[str, str]:  # noqa: ARG002 - rejecting is the same for all
        return "yes", "yes"
