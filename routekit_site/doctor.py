"""What is wrong with an installation, in plain words, and what to do. Looks at everything, changes nothing."""

from __future__ import annotations

import os
import shutil
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from pydantic import ValidationError

from agents.errors import UnknownProvider
from agents.execution import sandbox_policy
from agents.models import Agent, Run
from agents.providers import provider_for
from approvals.manifests import all_manifests
from approvals.models import ApprovalGate, ToolAllowance
from routekit_site.health import NEED_DATABASE, Finding, findings
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed, ValueForgotten
from routekit_site.tenancy.heartbeats import redaction_failures
from routekit_site.tenancy.models import Membership, Tenant
from routekit_site.tenancy.roles import Capability, capabilities_of

_LEAST_FREE = 512 * 2**20  # bytes
_CLOCKS_MAY_DIFFER = timedelta(seconds=5)
_PATIENCE = timedelta(minutes=2)
_DAY = timedelta(days=1)
_SAMPLE = 50


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong: where, what, and what to do."""

    where: str
    what: str
    remedy: str


_REMEDIES = {
    "database": "Check DATABASE_URL and that the database runs and takes connections from here.",
    "migrations": "Run it with the newest release, before web and workers start.",
    "broker": "Check REDIS_URL and that Redis runs. Until it does, jobs go on by the sweep, where one runs.",
    "sweep": "Start beat and at least one worker, and look at their logs.",
    "sandbox": "Run manage.py sandbox_doctor where the workers run: it names the kernel feature that is missing.",
    "threads": "Restart the process; its log says what ended.",
}


def _health(found: list[Finding]) -> list[Complaint]:
    """What health finds wrong; behind a database that can't be used, only that and what doesn't need it."""
    hidden = NEED_DATABASE if _unusable(found, "database") else {"sweep", "sandbox"} if _unusable(found) else set()
    wrong = [each for each in found if not each.ok and each.name not in hidden]
    return [Complaint(each.name, each.detail, _REMEDIES[each.name]) for each in wrong]


def _unusable(found: list[Finding], *names: str) -> bool:
    """Whether the database does not answer, or is not as this release needs it."""
    return any(not each.ok and each.name in (names or ("database", "migrations")) for each in found)


def _data_directory() -> Iterator[Complaint]:
    folder = Path(settings.ROUTEKIT_DATA_DIR)
    where = "data directory"
    if not folder.is_dir():
        yield Complaint(where, f"{folder} is no directory.", "Make it, or set ROUTEKIT_DATA_DIR.")
        return
    needed = os.R_OK if _only_reads(folder) else os.W_OK
    if not os.access(folder, needed | os.X_OK):
        done = "written" if needed == os.W_OK else "read"
        yield Complaint(where, f"{folder} can't be {done} by this user.", "Give it to the user that runs the workers.")
    if stat.S_IMODE(folder.stat().st_mode) & 0o007:
        yield Complaint(where, f"{folder} is open to every user of this machine.", f"chmod o-rwx {folder}")
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        yield Complaint(where, f"only {free // 2**20} MB are free there.", "Make room: a full disk stops every run.")


def _only_reads(folder: Path) -> bool:
    """Whether this is a web process beside workers: they write there, and it has the folder read-only."""
    database = Path(str(settings.DATABASES["default"]["NAME"]))
    return bool(settings.ROUTEKIT_SIGNING_KEY and settings.REDIS_URL) and not database.is_relative_to(folder)


def _signing_key() -> Iterator[Complaint]:
    encoded = settings.ROUTEKIT_SIGNING_KEY
    if not encoded:
        return
    private = Ed25519PrivateKey.from_private_bytes(b64decode(encoded))
    public = b64encode(private.public_key().public_bytes_raw()).decode()
    if public not in settings.ROUTEKIT_VERIFY_KEYS:
        yield Complaint(
            "signing key",
            "its public half is not among ROUTEKIT_VERIFY_KEYS, so nothing that is approved would run.",
            f"Add {public} to ROUTEKIT_VERIFY_KEYS of all processes.",
        )


def _encryption_keys() -> Iterator[Complaint]:
    """Look at the oldest and the newest sealed prompts: a key that was taken away too early locks the old ones."""
    runs = Run.objects.order_by("created_at").values_list("prompt_sealed", flat=True)
    lost = sum(not _opens(token) for token in [*runs[:_SAMPLE], *runs.reverse()[:_SAMPLE]])
    if lost:
        yield Complaint(
            "encryption keys",
            f"{lost} of {2 * _SAMPLE} stored prompts that were looked at can't be decrypted.",
            "Put the missing key back at the end of ROUTEKIT_ENCRYPTION_KEYS, then run manage.py rotate_keys.",
        )


def _opens(token: bytes | memoryview) -> bool:
    try:
        unseal(token)
    except ValueForgotten:
        return True
    except DecryptionFailed:
        return False
    return True


def _clock() -> Iterator[Complaint]:
    apart = abs(database_now() - timezone.now())
    if apart > _CLOCKS_MAY_DIFFER:
        yield Complaint(
            "clock",
            f"this machine's clock and the database's are {apart.total_seconds():.0f} s apart.",
            "Let both follow a time server. Leases and deadlines go by the database; logs would not fit together.",
        )


def _agents() -> Iterator[Complaint]:
    for agent in Agent.objects.filter(enabled=True).select_related("tenant").order_by("tenant__slug", "name"):
        where = f"agent {agent.name} of {agent.tenant.slug}"
        try:
            provider_for(agent.provider)
        except UnknownProvider as error:
            yield Complaint(where, str(error), "Choose another provider on the agent's admin page.")
        try:
            sandbox_policy(agent.sandbox)
        except ValidationError as error:
            problem = f"its sandbox can't be used ({error.error_count()} problems)."
            yield Complaint(where, problem, "Open and save it on the agent's admin page, which says what is wrong.")


def _allow_lists() -> Iterator[Complaint]:
    known = {manifest.name for manifest in all_manifests()}
    unknown = ToolAllowance.objects.exclude(tool__in=known).select_related("tenant").order_by("tenant__slug", "tool")
    for line in unknown:
        yield Complaint(
            f"allow-list of {line.tenant.slug}",
            f"there is no tool called {line.tool}.",
            "Name its app in ROUTEKIT_APPS, or take the line off.",
        )


def _people() -> Iterator[Complaint]:
    deciders: dict[int, int] = {}
    for tenant_id, role in Membership.objects.filter(user__is_active=True).values_list("tenant_id", "role"):
        deciders[tenant_id] = deciders.get(tenant_id, 0) + (Capability.DECIDE_GATE in capabilities_of(role))
    for tenant in Tenant.objects.order_by("slug"):
        if not deciders.get(tenant.pk):
            yield Complaint(
                f"tenant {tenant.slug}",
                "nobody in it can approve a call, so every call that asks will expire.",
                "Give somebody the role reviewer or admin.",
            )


def _redaction() -> Iterator[Complaint]:
    failures = redaction_failures(database_now() - _DAY)
    for tenant in Tenant.objects.filter(pk__in=failures).order_by("slug"):
        yield Complaint(
            f"redaction of {tenant.slug}",
            f"values of the last day could not be redacted ({failures[tenant.pk]}) and stand as [redaction failed].",
            "Save the tenant's redaction settings again in the administration, and look at a worker's log.",
        )


def _stuck() -> Iterator[Complaint]:
    now = database_now()
    idle = Run.objects.startable(now - _PATIENCE).filter(created_at__lt=now - _PATIENCE).count()
    if idle:
        yield Complaint("runs", f"{idle} could go on and nobody takes them up.", "Start workers, or more of them.")
    overdue = ApprovalGate.objects.overdue(now - _PATIENCE).count()
    if overdue:
        yield Complaint("gates", f"{overdue} are past their time and were not closed.", _REMEDIES["sweep"])


_CHECKS: dict[str, Callable[[], Iterator[Complaint]]] = {
    "data directory": _data_directory,
    "signing key": _signing_key,
}
_CHECKS_OF_ROWS: dict[str, Callable[[], Iterator[Complaint]]] = {
    "encryption keys": _encryption_keys,
    "clock": _clock,
    "agents": _agents,
    "allow-lists": _allow_lists,
    "people": _people,
    "redaction": _redaction,
    "work that stands still": _stuck,
}


def examine() -> Iterator[tuple[str, list[Complaint] | None]]:
    """Each thing by name, with what is wrong about it; None where the database has to be mended first."""
    health = findings()
    yield "health", _health(health)
    unusable = _unusable(health)
    for name, check in (_CHECKS | _CHECKS_OF_ROWS).items():
        if unusable and name in _CHECKS_OF_ROWS:
            yield name, None
            continue
        try:
            found = list(check())
        except (DatabaseError, OSError) as error:
            problem = f"could not be looked at ({type(error).__name__})."
            found = [Complaint(name, problem, "Look at the database's and this machine's logs, then run this again.")]
        yield name, found
