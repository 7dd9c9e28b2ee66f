"""`manage.py load_demo`: two tenants with their people, allow-lists and an agent that needs no key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agents.models import Agent
from approvals.models import ToolAllowance
from approvals.types import AllowanceMode
from routekit_site.tenancy.demo import PASSWORD
from routekit_site.tenancy.models import Membership, Tenant, User
from routekit_site.tenancy.roles import Role

AGENT = "Files and web"
FOLDER = "files-and-web"
NOTES = """\
Harbour trip, notes

- The ferry leaves at 07:40, so the meeting point is the quay at 07:15.
- Tickets: ask Mara (mara.lind@example.org, +46 31 700 12 34).
- Packed lunches for eleven people; two of them eat no fish.
- If it rains, the market hall is closed on the first Monday of the month, the museum is not.
"""

# Every mode once, so that the demo shows each: what only computes runs by itself, what touches files or the network
# asks because of its permission, code asks always, and deleting is not offered at all.
ALLOWANCES: dict[str, AllowanceMode] = {
    "calculator": AllowanceMode.ALLOW,
    "current_time": AllowanceMode.ALLOW,
    "list_directory": AllowanceMode.BY_PERMISSION,
    "read_file": AllowanceMode.BY_PERMISSION,
    "search_files": AllowanceMode.BY_PERMISSION,
    "write_file": AllowanceMode.BY_PERMISSION,
    "http_request": AllowanceMode.BY_PERMISSION,
    "run_python": AllowanceMode.ASK,
    "delete_file": AllowanceMode.DENY,
}


@dataclass(frozen=True)
class Person:
    """One of the demo's people."""

    username: str
    first_name: str
    last_name: str
    role: Role


CAST: dict[str, tuple[str, tuple[Person, ...]]] = {
    "acme": (
        "Acme",
        (
            Person("alice", "Alice", "Arnesen", Role.DEVELOPER),
            Person("rita", "Rita", "Rossi", Role.REVIEWER),
            Person("adam", "Adam", "Adeyemi", Role.ADMIN),
        ),
    ),
    "globex": (
        "Globex",
        (
            Person("carol", "Carol", "Castillo", Role.DEVELOPER),
            Person("ravi", "Ravi", "Raman", Role.REVIEWER),
            Person("ada", "Ada", "Andersson", Role.ADMIN),
        ),
    ),
}


class Command(BaseCommand):
    """Makes what is missing and leaves alone what is there, so it may be run on every start."""

    help = "Load the demo: tenants acme and globex, their people, an allow-list and an agent each."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--password", help="password of new accounts; needed outside demo mode, where it is secret")
        parser.add_argument("--page", metavar="URL", help="the page that the agents fetch (default: the site's own)")

    def handle(self, **options: Any) -> None:
        password = PASSWORD if settings.DEMO else options["password"]
        if not password:
            raise CommandError("Outside demo mode the accounts need a password that nobody knows: give --password.")
        page = options["page"] or f"http://{settings.ROUTEKIT_BIND}/demo/page/"
        with transaction.atomic(durable=True):
            for slug, (name, people) in CAST.items():
                tenant, _ = Tenant.objects.get_or_create(slug=slug, defaults={"name": name})
                for person in people:
                    _join(tenant, person, password)
                for tool, mode in ALLOWANCES.items():
                    ToolAllowance.objects.get_or_create(tenant=tenant, tool=tool, defaults={"mode": mode})
                _give_agent(tenant, page)
        for slug in CAST:
            _write_notes(_root(slug))


def _join(tenant: Tenant, person: Person, password: str) -> None:
    user = User.objects.filter(username=person.username).first()
    if user is None:
        user = User.objects.create_user(
            person.username,
            f"{person.username}@{tenant.slug}.example",
            password,
            first_name=person.first_name,
            last_name=person.last_name,
        )
    Membership.objects.get_or_create(user=user, tenant=tenant, defaults={"role": person.role})


def _root(slug: str) -> Path:
    folder: Path = Path(settings.ROUTEKIT_DATA_DIR).resolve() / "sandboxes" / slug / FOLDER
    return folder


def _give_agent(tenant: Tenant, page: str) -> None:
    """The tenant's agent; its address follows the page, which moves with the port that the site listens on."""
    host = page.split("://", 1)[1].split("/", 1)[0]
    settled = {
        "instructions": f"You work on files in your folder. The page to fetch, when none is named, is {page}",
        "sandbox": {
            "filesystem": {"sandbox_root": str(_root(tenant.slug))},
            "network": {"allowed_hosts": [host], "allowed_networks": [host]},
        },
    }
    agent, made = Agent.objects.get_or_create(
        tenant=tenant,
        name=AGENT,
        defaults={
            **settled,
            "description": "Reads and writes files of its own folder and fetches pages. Scripted: needs no key.",
            "provider": "scripted",
        },
    )
    if not made and {name: getattr(agent, name) for name in settled} != settled:
        Agent.objects.filter(pk=agent.pk).update(**settled, version=agent.version + 1)


def _write_notes(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    notes = folder / "notes.txt"
    if not notes.exists():
        notes.write_text(NOTES, encoding="utf-8")
