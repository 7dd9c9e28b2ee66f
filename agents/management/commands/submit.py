"""`manage.py submit`: hand in a job and follow it."""

from __future__ import annotations

import sys
import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from agents import pages, runs, terminal
from agents.errors import AgentError, AgentNotFound
from agents.models import Agent
from agents.states import RunState
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import TenancyError
from routekit_site.tenancy.limits import Rate, check_rate_of
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.terminal import PersonCommand


class Command(PersonCommand):
    """Submits a job, then tells what becomes of it until it ends. Ctrl-C stops the telling, not the job."""

    help = "Submit a job and follow it; exits with 1 when the run did not succeed."
    answers = (TenancyError, AgentError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("prompt", help="what the agent should do; - reads standard input")
        parser.add_argument("--agent", metavar="NAME", help="which agent (default: the tenant's only one)")
        parser.add_argument("--key", help="an idempotency key: the same person's same key is the same run, sent once")
        parser.add_argument("--no-wait", action="store_true", help="don't follow the run, only print its id")

    def act(self, user: User, membership: Membership, options: dict[str, Any]) -> None:
        runs.check_submit(user, membership.tenant_id)
        check_rate_of(user, Rate.SUBMIT)
        agent = _agent(membership.tenant_id, options["agent"])
        prompt = sys.stdin.read() if options["prompt"] == "-" else options["prompt"]
        with transaction.atomic(durable=True):
            run = runs.submit(
                tenant_id=membership.tenant_id,
                user=user,
                agent_id=agent.pk,
                prompt=prompt,
                idempotency_key=options["key"] or uuid.uuid4().hex,
                now=database_now(),
            )
        as_json = options["json"]
        if not as_json:
            self.stdout.write(str(run.id) if options["no_wait"] else f"run {run.id}")
        if not options["no_wait"]:
            run = terminal.follow(run, user, self.stderr.write if as_json else self.stdout.write)
        if as_json:
            self.print_json(pages.run_facts(run, user))
        elif not options["no_wait"]:
            self.stdout.write("\n".join(terminal.summary(run)))
        if not options["no_wait"] and run.state != RunState.SUCCEEDED:
            message = f"The run ended as {run.state.replace('_', ' ')}."
            raise CommandError(message)


def _agent(tenant_id: int, name: str | None) -> Agent:
    agents = Agent.objects.in_tenant(tenant_id).order_by("name")
    found = list(agents.filter(name=name) if name else agents.filter(enabled=True))
    if name and not found:
        raise AgentNotFound
    if len(found) != 1:
        names = ", ".join(agent.name for agent in found) or "none is switched on"
        message = f"Choose an agent with --agent ({names})."
        raise CommandError(message)
    return found[0]
