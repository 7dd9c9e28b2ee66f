"""Deciding at a terminal: the call is shown in full first, and the answer is bound to what was shown."""

from __future__ import annotations

import sys
import uuid
from abc import abstractmethod
from typing import Any, ClassVar, Literal

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from approvals import pages, printout
from approvals.errors import ApprovalError
from approvals.gates import Ballot, check_decide, decide
from approvals.models import ApprovalGate
from approvals.states import GateState
from approvals.types import Risk
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import NotVisible, TenancyError
from routekit_site.tenancy.limits import Rate, check_rate_of
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.terminal import PersonCommand

_SHORTEST = 4


def named_gate(tenant_id: int, name: str) -> ApprovalGate:
    """The tenant's gate with this id, or the one whose id begins so.

    Raises:
        NotVisible: none does, or several do.
    """
    wanted = name.strip().lower()
    if len(wanted) < _SHORTEST or not set(wanted) <= set("0123456789abcdef-"):
        raise NotVisible("A gate is named by its id, or by at least the first 4 digits of it.")
    found = ApprovalGate.objects.in_tenant(tenant_id)
    try:
        matching = list(found.filter(pk=uuid.UUID(wanted)))
    except ValueError:
        ids = found.open().values_list("pk", flat=True)
        matching = list(found.filter(pk__in=[pk for pk in ids if str(pk).startswith(wanted)][:2]))
    if len(matching) != 1:
        many = "Several gates' ids begin so: name it with more digits." if matching else "There is no such gate."
        raise NotVisible(many)
    return matching[0]


class DecisionCommand(PersonCommand):
    """Shows a call, asks, and casts the ballot on exactly what it showed."""

    kind: ClassVar[Literal["approve", "reject"]]
    answers = (TenancyError, ApprovalError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("gate", help="the id of a gate, or the beginning of it")
        parser.add_argument(
            "--shown",
            nargs=2,
            metavar=("DIGEST", "VIEW_DIGEST"),
            help="decide without asking, on the call that `gates ID --json` showed with these digests",
        )

    def act(self, user: User, membership: Membership, options: dict[str, Any]) -> None:
        gate = named_gate(membership.tenant_id, options["gate"])
        check_decide(user, gate)
        if gate.state == GateState.PENDING:
            self._agreed(gate, options)
        digest, view_digest = options["shown"] or (gate.digest, gate.view_digest)
        if self.kind == "approve":
            check_rate_of(user, Rate.DECIDE)
        ballot = Ballot(self.kind, digest, view_digest, uuid.uuid4().hex, options.get("reason") or "")
        with transaction.atomic(durable=True):
            decision = decide(gate.pk, user, ballot, now=database_now())
        decision.gate.refresh_from_db()
        self._tell(decision.gate, as_json=options["json"])

    def _agreed(self, gate: ApprovalGate, options: dict[str, Any]) -> None:
        """Return when the person wants this very call decided.

        Raises:
            CommandError: they don't, or there is nobody to ask.
        """
        word, told = self.confirmation(gate, options)
        if options["shown"]:
            if told != word:
                message = f"This call is of high risk: give --confirm {word} too."
                raise CommandError(message)
            return
        if options["password_stdin"] or not sys.stdin.isatty():
            raise CommandError("There is nobody to ask: give --shown with the digests that `gates ID --json` prints.")
        self.stdout.write(printout.printed(gate.presentation))
        self.stdout.write("")
        if input(f"Type {word} to {self.kind} this call: ").strip() != word:
            raise CommandError("Nothing was decided.")

    @abstractmethod
    def confirmation(self, gate: ApprovalGate, options: dict[str, Any]) -> tuple[str, str]:
        """What has to be typed for this gate, and what the options say instead of typing."""

    def _tell(self, gate: ApprovalGate, *, as_json: bool) -> None:
        if as_json:
            self.print_json({"id": gate.pk, "state": gate.state, "hold_until": gate.hold_until})
        elif gate.state == GateState.PENDING:
            self.stdout.write(f"Your approval counts. {gate.tool} waits for somebody else's.")
        else:
            self.stdout.write(f"{gate.state.capitalize()}: {pages.sentence_of(gate)}")


def needs_name(gate: ApprovalGate) -> bool:
    """Whether approving takes the tool's name, typed, as on the page."""
    return gate.risk == Risk.HIGH
