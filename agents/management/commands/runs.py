"""`manage.py runs`: a tenant's runs that a person may see, or one of them in full."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agents import pages, terminal
from agents.models import Run
from agents.runs import visible_runs
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.errors import TenancyError
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.templatetags.screens import relative
from routekit_site.tenancy.terminal import PersonCommand

_WIDTH = 60


class Command(PersonCommand):
    """Lists runs, newest first; with an id (or the beginning of one) tells how that run stands."""

    help = "List runs, or show one; --follow stays until it ends."
    answers = (TenancyError,)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("run", nargs="?", help="the id of a run, or the beginning of it")
        parser.add_argument("--state", choices=pages.run_states(), help="only runs in this state")
        parser.add_argument("--mine", action="store_true", help="only runs that this person submitted")
        parser.add_argument("--limit", type=int, default=20, help="at most so many (default: 20)")
        parser.add_argument("--follow", action="store_true", help="tell what becomes of the run until it ends")

    def act(self, user: User, membership: Membership, options: dict[str, Any]) -> None:
        if options["run"]:
            self._show(terminal.named_run(user, membership.tenant_id, options["run"]), user, options)
        else:
            self._list(user, membership, options)

    def _show(self, run: Run, user: User, options: dict[str, Any]) -> None:
        as_json = options["json"]
        if options["follow"]:
            run = terminal.follow(run, user, self.stderr.write if as_json else self.stdout.write)
        if as_json:
            self.print_json(pages.run_facts(run, user))
            return
        if not options["follow"]:
            self.stdout.write("\n".join(terminal.news(run, user)))
        self.stdout.write("\n".join(terminal.summary(run)))

    def _list(self, user: User, membership: Membership, options: dict[str, Any]) -> None:
        found = visible_runs(user, membership.tenant_id).select_related("agent", "submitter").newest_first()
        if options["state"]:
            found = found.filter(state=options["state"])
        if options["mine"]:
            found = found.submitted_by(user)
        listed = list(found[: max(1, options["limit"])])
        if options["json"]:
            self.print_json([_line(run) for run in listed])
            return
        now = database_now()
        for run in listed:
            prompt = " ".join(run.prompt_redacted.split())[:_WIDTH]
            age = relative((run.created_at - now).total_seconds())
            self.stdout.write(f"{run.id}  {run.state:<10}  {age:<16}  {run.submitter.display_name}: {prompt}")
        if not listed:
            self.stdout.write("No runs.")


def _line(run: Run) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "state": run.state,
        "agent": run.agent.name,
        "submitter": run.submitter.display_name,
        "prompt": run.prompt_redacted,
        "created_at": run.created_at,
        "finished_at": run.finished_at,
    }
