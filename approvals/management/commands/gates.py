"""`manage.py gates`: the calls that wait for a person, or one of them in full."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from approvals import pages, printout
from approvals.gates import check_view_gate
from approvals.models import ApprovalGate
from approvals.terminal import named_gate
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import TenancyError
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Capability
from routekit_site.tenancy.templatetags.screens import duration
from routekit_site.tenancy.terminal import PersonCommand


class Command(PersonCommand):
    """Lists what waits, most pressing first; with an id (or the beginning of one) shows all of that call."""

    help = "List the calls that wait for approval, or show one in full."
    answers = (TenancyError,)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("gate", nargs="?", help="the id of a gate, or the beginning of it")
        parser.add_argument("--limit", type=int, default=50, help="at most so many (default: 50)")

    def act(self, user: User, membership: Membership, options: dict[str, Any]) -> None:
        if options["gate"]:
            self._show(user, membership, named_gate(membership.tenant_id, options["gate"]), as_json=options["json"])
        else:
            self._list(user, membership, max(1, options["limit"]), as_json=options["json"])

    def _show(self, user: User, membership: Membership, gate: ApprovalGate, *, as_json: bool) -> None:
        check_view_gate(user, gate)
        (row,) = pages.rows(ApprovalGate.objects.filter(pk=gate.pk), membership, database_now())
        if as_json:
            why_not = pages.why_not(user, gate)
            self.print_json({**row.as_json(), "why_not": why_not, "presentation": gate.presentation})
            return
        self.stdout.write(f"{gate.id} is {gate.state}. {pages.outcome(gate)}".rstrip(". ") + ".")
        self.stdout.write(f"May decide: {pages.approvers(gate)}.\n\n{printout.printed(gate.presentation)}")

    def _list(self, user: User, membership: Membership, limit: int, *, as_json: bool) -> None:
        check_capability(user, membership.tenant_id, Capability.VIEW_QUEUE)
        now = database_now()
        rows = pages.rows(pages.waiting(membership.tenant_id)[:limit], membership, now)
        if as_json:
            self.print_json([row.as_json() for row in rows])
            return
        for row in rows:
            left = duration((row.decide_by - now).total_seconds(), units=1)
            self.stdout.write(f"{row.id}  {row.risk:<6}  {left:>6} left  {row.tool}: {row.sentence} ({row.requester})")
        if not rows:
            self.stdout.write("Nothing waits.")
