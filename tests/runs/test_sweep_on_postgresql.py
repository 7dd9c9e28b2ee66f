"""The sweep's looks on PostgreSQL: they find what they should, and none of them reads all gates."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.fixtures.migrated import migrated_database
from tests.fixtures.processes import Site, prepare_stack
from tests.fixtures.services import Services

WAITING = """
import json, uuid
from datetime import timedelta
from django.db import connection, transaction
from django.db.models import F
from agents import queue, runs
from agents.models import Agent, Run
from agents.runs import sweeping
from approvals import closing, gates
from approvals.models import ApprovalGate, TenantPolicy, ToolAllowance
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Tenant, User

rung = []
queue._publish = lambda run_id, after: rung.append(run_id)
acme = Tenant.objects.get(slug="acme")
alice, rita = User.objects.get(username="alice"), User.objects.get(username="rita")
TenantPolicy.objects.update_or_create(tenant=acme, defaults={"approval_hold_seconds": 0})
ToolAllowance.objects.filter(tenant=acme, tool="calculator").update(mode="ask")

def waiting():
    with transaction.atomic():
        run = runs.submit(
            tenant_id=acme.pk, user=alice, agent_id=Agent.objects.get(tenant=acme).pk,
            prompt='calculator {"expression": "6 * 7"}', idempotency_key=uuid.uuid4().hex, now=database_now(),
        )
    runs.advance(run.pk, worker="w")
    return str(run.pk)

def decide(run, kind):
    gate = ApprovalGate.objects.get(run_id=run)
    with transaction.atomic():
        gates.decide(
            gate.pk, rita, gates.Ballot(kind, gate.digest, gate.view_digest, uuid.uuid4().hex), now=database_now()
        )
"""


@pytest.fixture(scope="module")
def site(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A migrated database with demo data; nothing runs."""
    with migrated_database(services.database_url) as database_url:
        yield prepare_stack(tmp_path_factory.mktemp("sweep"), Services(database_url, services.redis_url))


def told(site: Site, code: str) -> str:
    """What the code prints inside of the site."""
    return site.manage("shell", "--no-imports", "--command", WAITING + code).stdout.strip()


def test_runs_that_were_answered_an_hour_ago_are_found_by_the_first_sweep(site: Site) -> None:
    code = """
approved, rejected, left = waiting(), waiting(), waiting()
decide(approved, "approve")
decide(rejected, "reject")
passed = timedelta(hours=1)
Run.objects.update(created_at=F("created_at") - passed)
ApprovalGate.objects.update(hold_until=F("hold_until") - passed, closed_at=F("closed_at") - passed)
rung.clear()
print(runs.sweep(), set(rung) == {approved, rejected})
"""
    assert told(site, code) == "2 True"


def test_no_look_of_the_sweep_reads_all_gates_once_its_plan_is_kept(site: Site) -> None:
    """The tests' tables are so small that PostgreSQL would read them whole anyway; here it does so where it has to."""
    code = """
plans = {}
with connection.cursor() as cursor:
    cursor.execute("SET plan_cache_mode = force_generic_plan")
    cursor.execute("SET enable_seqscan = off")
    looks = {name: getattr(closing, name) for name in ("_OVERDUE", "_UNUSED", "_TO_ESCALATE")}
    looks |= {name: getattr(sweeping, name) for name in ("_CLOSED", "_RELEASED", "_LATELY_ANSWERED")}
    for name, look in looks.items():
        prepared = look._ready()
        values = ", ".join(["NULL"] * len(prepared.values))
        numbered = prepared.sql
        for place in range(len(prepared.values)):
            numbered = numbered.replace("%s", f"${place + 1}", 1)
        cursor.execute(f"PREPARE {name} AS {numbered}")
        cursor.execute(f"EXPLAIN EXECUTE {name} ({values})")
        plans[name] = " ".join(line for (line,) in cursor.fetchall())
print(json.dumps(plans))
"""
    plans = json.loads(told(site, code))
    indexes = {
        "_OVERDUE": ["gate_overdue"],
        "_UNUSED": ["gate_held"],
        "_TO_ESCALATE": ["gate_to_call_second"],
        "_CLOSED": ["gate_one_open_per_call"],
        "_RELEASED": ["gate_held"],
        "_LATELY_ANSWERED": ["gate_held", "gate_closed"],
    }
    assert plans.keys() == indexes.keys()
    for look, named in indexes.items():
        assert all(name in plans[look] for name in named), plans[look]
        assert "Seq Scan on approvals_approvalgate" not in plans[look]
