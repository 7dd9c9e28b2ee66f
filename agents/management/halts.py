"""What `halt` and `resume` have in common: naming the target on a command line, and who did it."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents.models import Agent
from approvals.halting import Target
from routekit_site.tenancy.models import Halt, Tenant


def add_target(parser: CommandParser) -> None:
    """The options that name what is meant."""
    parser.add_argument("--site", action="store_true", help="every agent of this site")
    parser.add_argument("--tenant", metavar="SLUG", help="every agent of this tenant")
    parser.add_argument("--agent", metavar="NAME", help="this agent of the tenant")


def target_of(options: Mapping[str, Any]) -> Target:
    """The target that the options name.

    Raises:
        CommandError: they name none, too much, or something that does not exist.
    """
    slug, name = options["tenant"], options["agent"]
    if options["site"] == bool(slug) or (name and not slug):
        raise CommandError("Name what is meant: --site, or --tenant SLUG, or --tenant SLUG --agent NAME.")
    if options["site"]:
        return Target()
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise CommandError(f'There is no tenant "{slug}".')
    return _agent_of(tenant, name) if name else Target(tenant)


def _agent_of(tenant: Tenant, name: str) -> Target:
    found = Agent.objects.in_tenant(tenant.pk).filter(name=name).first()
    if found is None:
        raise CommandError(f'{tenant.name} has no agent "{name}".')
    return Target(tenant, str(found.pk), found.name)


def halts_of(options: Mapping[str, Any]) -> list[Halt]:
    """The halts that stand now, of the tenant that the options name or of all."""
    found = Halt.objects.standing().select_related("tenant").order_by("halted_at", "id")
    if not options["tenant"]:
        return list(found)
    return [each for each in found if each.tenant is None or each.tenant.slug == options["tenant"]]


def operator() -> str:
    """Who works at this terminal, for the ledger."""
    try:
        return f"operator {getpass.getuser()}"
    except (OSError, KeyError):
        return "operator"
