"""`manage.py load_demo`: tenants with people, an allow-list and an agent without a key; `--week` adds a busy one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agents.demo.stories import FILES, PAGE_TEXT
from agents.demo.week import page_served, play
from agents.models import Agent
from approvals.models import ToolAllowance
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
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


# The busy tenant's agent reads, and computes, by itself; what it changes or sends is asked about.
BUSY = "meridian"
BUSY_ALLOWANCES = ALLOWANCES | dict.fromkeys(("read_file", "list_directory", "search_files"), AllowanceMode.ALLOW)


@dataclass(frozen=True)
class Person:
    """One of the demo's people."""

    username: str
    first_name: str
    last_name: str
    role: Role


WEEK_CAST = (
    Person("mia", "Mia", "Madsen", Role.DEVELOPER),
    Person("odd", "Odd", "Olsen", Role.DEVELOPER),
    Person("rune", "Rune", "Ravn", Role.REVIEWER),
    Person("amal", "Amal", "Aziz", Role.ADMIN),
)
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
        parser.add_argument("--week", action="store_true", help="add a tenant with a week of work (demo mode only)")
        parser.add_argument("--page", metavar="URL", help="the page that the agents fetch (default: the site's own)")

    def handle(self, **options: Any) -> None:
        password = PASSWORD if settings.DEMO else options["password"]
        if not password:
            raise CommandError("Outside demo mode the accounts need a password that nobody knows: give --password.")
        page = options["page"] or f"http://{settings.ROUTEKIT_BIND}/demo/page/"
        if not urlsplit(page).scheme or not urlsplit(page).netloc:
            raise CommandError("--page: must be an address, such as http://127.0.0.1:8000/demo/page/")
        with transaction.atomic(durable=True):
            for slug, (name, people) in CAST.items():
                _settle(slug, name, people, ALLOWANCES, password=password, page=page)
        for slug in CAST:
            _write(_root(slug), {"notes.txt": NOTES})
        if options["week"] and not Tenant.objects.filter(slug=BUSY).exists():
            self._make_week(password, page)

    def _make_week(self, password: str, page: str) -> None:
        """Once: whoever wants it afresh deletes the data directory."""
        with transaction.atomic(durable=True):
            agent = _settle(BUSY, "Meridian Freight", WEEK_CAST, BUSY_ALLOWANCES, password=password, page=page)
        _write(_root(BUSY), FILES)
        self.stdout.write("Making a week of work to look at")
        with page_served(page, PAGE_TEXT):
            play(agent, page, database_now())


def _settle(
    slug: str,
    name: str,
    people: Iterable[Person],
    allowances: Mapping[str, AllowanceMode],
    *,
    password: str,
    page: str,
) -> Agent:
    """The tenant with its people, its allow-list and its agent; what is missing of them is made."""
    tenant, _ = Tenant.objects.get_or_create(slug=slug, defaults={"name": name})
    for person in people:
        _join(tenant, person, password)
    for tool, mode in allowances.items():
        ToolAllowance.objects.get_or_create(tenant=tenant, tool=tool, defaults={"mode": mode})
    return _give_agent(tenant, page)


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


def _give_agent(tenant: Tenant, page: str) -> Agent:
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
        agent.refresh_from_db()
    return agent


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Put files into an agent's folder, but for those that are there."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(text, encoding="utf-8")
