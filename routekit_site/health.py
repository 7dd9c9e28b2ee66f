"""Health for machines: `/healthz` says that this process answers, `/readyz` whether the whole site can do its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from routekit_site.supervision import standings
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.heartbeats import SWEEP, last_sign

# A sweep is due every second. Older than this, something between beat, broker and worker is broken.
SWEEP_TOO_OLD = 15.0
_BROKER_PATIENCE = 2.0
# The list in which Celery keeps the messages that no worker has taken yet.
BELLS = "celery"
# More bells than workers get through in the time in which a person begins to wonder.
_TOO_MANY_BELLS = 5000


@dataclass(frozen=True)
class Finding:
    """What one check found; `detail` is for a person and names no secret and no address."""

    name: str
    ok: bool
    detail: str


def _database() -> tuple[bool, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return True, connection.vendor


def _migrations() -> tuple[bool, str]:
    executor = MigrationExecutor(connection)
    waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    return not waiting, f"{waiting} to apply: run manage.py migrate" if waiting else "all applied"


def _broker() -> tuple[bool, str]:
    if not settings.REDIS_URL:
        return True, "in memory"
    with redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=_BROKER_PATIENCE, socket_connect_timeout=_BROKER_PATIENCE
    ) as client:
        waiting = client.llen(BELLS)
    behind = isinstance(waiting, int) and waiting > _TOO_MANY_BELLS
    return not behind, f"redis, {waiting} bells wait" + (": start more workers" if behind else "")


def _sweep() -> tuple[bool, str]:
    sign = last_sign(SWEEP, database_now())
    if sign is None:
        return False, "no worker has swept yet: are beat and a worker running?"
    if sign.age > SWEEP_TOO_OLD:
        return False, f"the last sweep was {sign.age:.0f} s ago: is beat, the broker or every worker down?"
    return True, f"{sign.age:.0f} s ago"


def _sandbox() -> tuple[bool, str]:
    """The tier of the worker that swept last, which is where tools run; this process may stand elsewhere."""
    sign = last_sign(SWEEP, database_now())
    tier = str(sign.facts.get("tier", "")) if sign else ""
    if not tier:
        return False, "no worker has told its sandbox tier yet"
    if tier == "T0" and settings.ROUTEKIT_SANDBOX_REQUIRE == "kernel":
        return False, "T0: the worker's kernel gives no boundary; every tool call is refused (manage.py sandbox_doctor)"
    return True, tier


def _threads() -> tuple[bool, str]:
    idle = [standing.name for standing in standings() if not standing.working]
    return not idle, f"not working now: {', '.join(idle)}" if idle else f"{len(standings())} in this process"


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "database": _database,
    "migrations": _migrations,
    "broker": _broker,
    "sweep": _sweep,
    "sandbox": _sandbox,
    "threads": _threads,
}


NEED_DATABASE = frozenset({"migrations", "sweep", "sandbox"})


def findings(names: tuple[str, ...] = tuple(CHECKS)) -> list[Finding]:
    """Run checks by name; one that fails says so by the kind of its error only.

    When the database is looked at and away, what needs it is not tried: each would wait as long again.
    """
    found: list[Finding] = []
    for name in names:
        if name in NEED_DATABASE and any(each.name == "database" and not each.ok for each in found):
            found.append(Finding(name, ok=False, detail="not looked at: the database does not answer"))
            continue
        try:
            ok, detail = CHECKS[name]()
        except (DatabaseError, redis.RedisError, OSError) as error:
            ok, detail = False, f"no answer ({type(error).__name__})"
        found.append(Finding(name, ok, detail))
    return found


@never_cache
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers; looks at nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """200 when every check passes, else 503; the body says which one did not and what to do."""
    found = findings()
    ready = all(finding.ok for finding in found)
    body = {
        "ready": ready,
        "checks": {finding.name: {"ok": finding.ok, "detail": finding.detail} for finding in found},
        "threads": {standing.name: {"restarts": standing.restarts} for standing in standings()},
    }
    return JsonResponse(body, status=200 if ready else 503)
