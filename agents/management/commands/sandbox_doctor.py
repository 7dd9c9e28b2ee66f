"""`manage.py sandbox_doctor`: what this machine can enforce, and what keeps it from more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from agents.sandbox import Report, Tier, probe

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

_MEANING = {
    Tier.T2: "tools are confined by the kernel, in namespaces of their own",
    Tier.T1: "tools are confined by the kernel, without namespaces of their own",
    Tier.T0: "tools can't be confined here, and are refused unless an operator chooses best effort",
}


class Command(BaseCommand):
    help = "Report which tier of the tool sandbox this machine can enforce, feature by feature."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002 -- Django's own signature
        report = probe(fresh=True)
        self.stdout.write(json.dumps(report.as_dict(), indent=2) if options["json"] else as_text(report))


def as_text(report: Report) -> str:
    """The report for a person."""
    lines = [f"Tier {report.tier}: {_MEANING[report.tier]}.", f"Kernel: {report.kernel} on {report.machine}", ""]
    for feature in report.features:
        state = "yes" if feature.available else "NO "
        lines.append(f"  {state}  {feature.name}{f' ({feature.detail})' if feature.detail else ''}")
    return "\n".join(lines)
