"""What differs between the databases, on PostgreSQL: the append-only triggers, odd values, search, retention."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.fixtures.migrated import migrated_database
from tests.fixtures.processes import Site, prepare_stack
from tests.fixtures.services import Services

RECORD = """
import uuid
from datetime import timedelta
from django.db import transaction
from django.utils import timezone
from routekit_site.tenancy.models import Tenant, User
from traces import ledger, queries, recorder, retention
from traces.kinds import EventKind, LedgerKind
from traces.models import RetentionPolicy, Trace, TraceEvent

acme, alice = Tenant.objects.get(slug="acme"), User.objects.get(username="alice")
now, run = timezone.now(), uuid.uuid4()
"""


@pytest.fixture(scope="module")
def site(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A migrated database with demo data; nothing runs."""
    with migrated_database(services.database_url) as database_url:
        yield prepare_stack(tmp_path_factory.mktemp("postgresql"), Services(database_url, services.redis_url))


def run(site: Site, code: str) -> str:
    """Run code inside the site; what it prints last."""
    return site.manage("shell", "--no-imports", "--command", RECORD + code).stdout.strip()


def test_odd_values_are_stored_and_found_again(site: Site) -> None:
    code = """
odd = {"nul": "a\\x00b", "half": "\\ud800", "nan": float("nan"), "big": 10**400, "bytes": b"\\xff"}
odd["needle"] = ["Haystack"]
with transaction.atomic():
    recorder.open_trace(tenant_id=acme.pk, run_id=run, agent_name="A", submitter_id=alice.pk, prompt="\\x00", now=now)
    recorder.record(run_id=run, kind=EventKind.NOTE, payload=odd, now=now)
    recorder.note_summary(run_id=run, state="failed", tool="read_file")
found = [queries.matching(Trace.objects.all(), term).count() for term in ("haystack", "note", "absent", "needle")]
found += [queries.having(Trace.objects.all(), "tools", tool).count() for tool in ("read_file", "read")]
print(TraceEvent.objects.get(trace=run, number=2).payload["nul"].encode().hex(), found)
"""
    assert run(site, code) == "61e2908062 [1, 1, 0, 1, 1, 0]"


def test_a_common_word_is_found_by_walking_the_traces(site: Site) -> None:
    code = """
queries._RARE = 1
with transaction.atomic():
    recorder.open_trace(tenant_id=acme.pk, run_id=run, agent_name="A", submitter_id=alice.pk, prompt="x", now=now)
    recorder.record(run_id=run, kind=EventKind.NOTE, payload={"text": "thither"}, now=now)
print([queries.matching(Trace.objects.all(), term).count() for term in ("thither", "THITHER", "hither")])
"""
    assert run(site, code) == "[1, 1, 0]"


@pytest.mark.parametrize("table", ["traces_traceevent", "traces_ledgerentry"])
def test_update_and_delete_are_refused_without_a_permit(site: Site, table: str) -> None:
    run(
        site,
        """
with transaction.atomic():
    recorder.open_trace(tenant_id=acme.pk, run_id=run, agent_name="A", submitter_id=alice.pk, prompt="x", now=now)
    ledger.append(tenant_id=acme.pk, kind=LedgerKind.DECISION, actor="rita", facts={}, now=now)
""",
    )
    with psycopg.connect(site.environment["DATABASE_URL"], autocommit=True) as connection:
        everything = f"TRUNCATE {table}", "TRUNCATE tenancy_tenant CASCADE"
        for statement in (f"UPDATE {table} SET actor = 'mallory'", f"DELETE FROM {table}", *everything):
            with pytest.raises(psycopg.IntegrityError, match="append-only"):
                connection.execute(statement)
        connection.execute("BEGIN")
        connection.execute("INSERT INTO traces_retentionpermit SELECT id FROM tenancy_tenant WHERE slug = 'acme'")
        with pytest.raises(psycopg.IntegrityError, match="append-only"):
            connection.execute(f"UPDATE {table} SET actor = 'mallory'")
        connection.execute("ROLLBACK")
        counted = connection.execute(f"SELECT count(*) FROM {table} WHERE actor <> 'mallory'").fetchone()
    assert counted is not None
    assert counted[0] > 0


def test_retention_deletes_through_its_permit_and_the_ledger_still_holds(site: Site) -> None:
    code = """
old = now - timedelta(days=40)
with transaction.atomic():
    recorder.open_trace(tenant_id=acme.pk, run_id=run, agent_name="A", submitter_id=alice.pk, prompt="x", now=old)
    recorder.note_summary(run_id=run, state="succeeded", finished_at=old)
    policy = RetentionPolicy.objects.create(tenant=acme, trace_days=30)
with transaction.atomic():
    gone = retention.forget_traces(policy, now)
print(gone, Trace.objects.filter(pk=run).exists(), ledger.verify(acme.pk))
"""
    assert run(site, code) == "1 False []"


def test_keys_are_rotated_under_the_guard_which_opens_for_nothing_else(site: Site) -> None:
    code = """
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import DatabaseError
from traces import rotation
from traces.models import EncryptionPolicy, RotationPermit
from traces.timeline import run_timeline
EncryptionPolicy.objects.update_or_create(tenant=acme, defaults={"encrypt_traces": True})
with transaction.atomic():
    recorder.open_trace(tenant_id=acme.pk, run_id=run, agent_name="A", submitter_id=alice.pk, prompt="sealed", now=now)
    recorder.record(run_id=run, kind=EventKind.NOTE, payload={"needle": "sealed"}, now=now)
EncryptionPolicy.objects.all().delete()
said = [queries.matching(Trace.objects.filter(pk=run), term).count() for term in ("sealed", "note")]
newest = Fernet.generate_key().decode()
settings.ROUTEKIT_ENCRYPTION_KEYS = (newest, *settings.ROUTEKIT_ENCRYPTION_KEYS)
said += [rotation.rotate((TraceEvent, "payload_sealed"), batch=1).resealed]
settings.ROUTEKIT_ENCRYPTION_KEYS = (newest,)
said += [run_timeline(run).locked]
for change in ({"actor": "mallory"}, {"payload": {"a": 1}}, {"payload_sealed": None}):
    try:
        with transaction.atomic():
            RotationPermit.objects.create()
            TraceEvent.objects.filter(trace=run).update(**change)
    except DatabaseError as error:
        said.append("append-only" in str(error))
print(said, RotationPermit.objects.count())
"""
    assert run(site, code) == "[0, 1, 2, 0, True, True, True] 0"


def test_what_was_stored_in_clear_is_encrypted_under_the_guard(site: Site) -> None:
    code = """
from django.db import DatabaseError
from traces import tasks
from traces.models import EncryptionPolicy, RotationPermit
from traces.timeline import events_of_run
with transaction.atomic():
    recorder.open_trace(tenant_id=acme.pk, run_id=run, agent_name="A", submitter_id=alice.pk, prompt="clear", now=now)
    recorder.record(run_id=run, kind=EventKind.NOTE, payload={"needle": "clearly"}, now=now)
said = [queries.matching(Trace.objects.filter(pk=run), "clearly").count()]
try:
    with transaction.atomic():
        RotationPermit.objects.create()
        TraceEvent.objects.filter(trace=run).update(payload_sealed=b"x")
except DatabaseError as error:
    said.append("append-only" in str(error))
EncryptionPolicy.objects.update_or_create(tenant=acme, defaults={"encrypt_traces": True})
tasks.encrypt()
said += [Trace.objects.filter(tenant=acme, prompt_sealed=None).count()]
said += [TraceEvent.objects.filter(trace__tenant=acme, payload_sealed=None).count()]
said += [queries.matching(Trace.objects.filter(pk=run), "clearly").count()]
EncryptionPolicy.objects.all().delete()
with transaction.atomic():
    recorder.record(run_id=run, kind=EventKind.NOTE, payload={"needle": "later"}, now=now)
said += [TraceEvent.objects.get(trace=run, number=3).payload, [each.payload for each in events_of_run(run)][1:]]
print(said, RotationPermit.objects.count())
"""
    shown = "[{'needle': 'clearly'}, {'needle': 'later'}]"
    assert run(site, code) == f"[1, True, 0, 0, 0, {{}}, {shown}] 0"
