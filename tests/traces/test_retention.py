"""Forgetting: what is past its time goes, in batches, with a record; a legal hold keeps everything."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from tests.fixtures.cast import Cast
from traces import append_only, ledger, recorder, retention
from traces.kinds import EventKind, LedgerKind
from traces.models import FeedEntry, LedgerEntry, RetentionPermit, RetentionPolicy, TenantHead, Trace, TraceEvent


def finished(cast: Cast, at: datetime) -> UUID:
    """A trace that ended at `at`."""
    run = uuid4()
    recorder.open_trace(
        tenant_id=cast.acme.pk, run_id=run, agent_name="Files", submitter_id=cast.alice.pk, prompt="x", now=at
    )
    recorder.record(run_id=run, kind=EventKind.RUN_FINISHED, payload={}, now=at)
    recorder.note_summary(run_id=run, state="succeeded", finished_at=at)
    return run


def fill_ledger(tenant_id: int, start: datetime, days: int) -> None:
    """One entry a day."""
    for day in range(days):
        ledger.append(
            tenant_id=tenant_id,
            kind=LedgerKind.DECISION,
            actor="rita",
            facts={"day": day},
            now=start + timedelta(days=day),
        )


@pytest.fixture
def policy(cast: Cast) -> RetentionPolicy:
    """Ten days for traces and for the ledger, under the database's guard."""
    append_only.install(connection)
    return RetentionPolicy.objects.create(tenant=cast.acme, trace_days=10, ledger_days=10)


def test_traces_past_their_time_go_and_a_record_stays(cast: Cast, policy: RetentionPolicy, now: datetime) -> None:
    old = [finished(cast, now - timedelta(days=11, minutes=minute)) for minute in range(3)]
    young = finished(cast, now - timedelta(days=9))
    running = uuid4()
    recorder.open_trace(
        tenant_id=cast.acme.pk,
        run_id=running,
        agent_name="Files",
        submitter_id=cast.alice.pk,
        prompt="x",
        now=now - timedelta(days=50),
    )
    assert retention.forget_traces(policy, now, limit=2) == 2
    assert retention.forget_traces(policy, now, limit=2) == 1
    assert retention.forget_traces(policy, now, limit=2) == 0
    assert set(Trace.objects.values_list("pk", flat=True)) == {young, running}
    assert not TraceEvent.objects.filter(trace_id__in=old).exists()
    entries = LedgerEntry.objects.filter(kind=LedgerKind.RETENTION).order_by("number")
    assert [(ledger.facts_of(entry)["traces"], ledger.facts_of(entry)["events"]) for entry in entries] == [
        (2, 4),
        (1, 2),
    ]
    assert not RetentionPermit.objects.exists()


def test_more_days_than_the_calendar_has_delete_nothing_and_stop_nobody(
    cast: Cast, policy: RetentionPolicy, now: datetime
) -> None:
    run = finished(cast, now - timedelta(days=11))
    fill_ledger(cast.acme.pk, now - timedelta(days=11), 1)
    RetentionPolicy.objects.update(trace_days=2_000_000_000, ledger_days=2_000_000_000, raw_days=2_000_000_000)
    policy.refresh_from_db()
    assert retention.forget_traces(policy, now) == retention.forget_ledger(policy, now) == 0
    assert Trace.objects.filter(pk=run).exists()
    (raw,) = retention.raw_retentions()
    assert now - timedelta(days=raw.days) < now


def test_the_rest_of_the_ledger_still_holds(cast: Cast, policy: RetentionPolicy, now: datetime) -> None:
    fill_ledger(cast.acme.pk, now - timedelta(days=20), 20)
    assert retention.forget_ledger(policy, now, limit=4) == 4
    assert ledger.verify(cast.acme.pk) == []
    while retention.forget_ledger(policy, now, limit=4):
        assert ledger.verify(cast.acme.pk) == []
    days = [ledger.facts_of(entry).get("day") for entry in LedgerEntry.objects.order_by("number")]
    assert days[:10] == list(range(10, 20))
    # And again, much later, when the first retention entries are old themselves.
    while retention.forget_ledger(policy, now + timedelta(days=30), limit=4):
        assert ledger.verify(cast.acme.pk) == []


def test_a_beginning_cut_off_by_somebody_else_is_a_fault(cast: Cast, policy: RetentionPolicy, now: datetime) -> None:
    fill_ledger(cast.acme.pk, now - timedelta(days=5), 5)
    append_only.remove(connection)
    last = LedgerEntry.objects.get(number=2)
    LedgerEntry.objects.filter(number__lte=2).delete()
    TenantHead.objects.filter(pk=cast.acme.pk).update(ledger_base_number=2, ledger_base_hash=last.hash)
    assert [(fault.number, fault.kind) for fault in ledger.verify(cast.acme.pk)] == [(2, "missing")]
    assert policy.ledger_days == 10


def test_a_legal_hold_keeps_everything(cast: Cast, policy: RetentionPolicy, now: datetime) -> None:
    finished(cast, now - timedelta(days=100))
    fill_ledger(cast.acme.pk, now - timedelta(days=100), 3)
    RetentionPolicy.objects.update(legal_hold=True)
    assert retention.policies() == []
    assert retention.forget_traces(policy, now) == retention.forget_ledger(policy, now) == 0
    assert (Trace.objects.count(), LedgerEntry.objects.count()) == (1, 3)


def test_other_tenants_keep_theirs(cast: Cast, policy: RetentionPolicy, now: datetime) -> None:
    fill_ledger(cast.globex.pk, now - timedelta(days=100), 3)
    assert retention.forget_ledger(policy, now) == 0
    assert LedgerEntry.objects.filter(tenant=cast.globex).count() == 3


def test_the_feed_keeps_its_newest_entries(cast: Cast, now: datetime) -> None:
    TenantHead.objects.create(tenant=cast.acme, feed_number=10_005)
    for number in range(1, 12):
        FeedEntry.objects.create(
            tenant=cast.acme, number=number, topic="run", subject_id="r", at=now - timedelta(days=8)
        )
    assert retention.forget_feed(cast.acme.pk, now) == 5
    assert FeedEntry.objects.order_by("number").values_list("number", flat=True)[0] == 6


@pytest.mark.parametrize("field", ["trace_days", "ledger_days"])
def test_a_retention_of_nothing_is_refused(cast: Cast, field: str) -> None:
    with pytest.raises(ValidationError, match="at least one day"):
        RetentionPolicy(tenant=cast.acme, **{field: 0}).full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        RetentionPolicy.objects.create(tenant=cast.acme, **{field: 0})
