"""Raw values have a time of their own: they go, the redacted run, its trace, its decisions and their proof stay."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction

from agents import retention, tasks
from agents.models import ModelReply, Run, ToolCall
from agents.states import RunState
from approvals.errors import BadRule
from approvals.integrity import gate_faults
from approvals.models import ApprovalGate
from approvals.rules import check_remember
from approvals.states import GateState
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import ValueForgotten
from tests.runs.conftest import Bench
from traces import ledger
from traces.kinds import LedgerKind
from traces.models import LedgerEntry, RetentionPolicy, TraceEvent
from traces.retention import RawRetention

JOB = 'write_file {"path": "a.txt", "text": "Monday"}\nthen\nread_file {"path": "notes.txt"}'


def aged(bench: Bench, days: int) -> Run:
    """A run that ended so many days ago."""
    run = bench.approve_all(bench.submit(JOB))
    Run.objects.filter(pk=run.pk).update(finished_at=database_now() - timedelta(days=days))
    return bench.fresh(run)


def kept(run: Run) -> int:
    """How many raw values of a run are still there."""
    found: list[Any] = [run.prompt_sealed]
    found += ModelReply.objects.filter(run=run).values_list("text_sealed", flat=True)
    for columns in ToolCall.objects.filter(run=run).values_list("arguments_sealed", "proposed_sealed", "result_sealed"):
        found += columns
    found += ApprovalGate.objects.filter(run_id=run.pk).values_list("arguments_sealed", flat=True)
    recorded = apps.get_model("approvals", "RecordedCall")
    found += recorded._default_manager.filter(run_id=run.pk).values_list("arguments_sealed", flat=True)
    return sum(bool(value) for value in found)


def forget(bench: Bench, days: int = 10, limit: int = 100) -> int:
    with transaction.atomic():
        return retention.forget_raw(RawRetention(bench.cast.acme.pk, days), database_now(), limit)


def test_raw_values_go_and_everything_redacted_stays(bench: Bench) -> None:
    old, young = aged(bench, 11), aged(bench, 9)
    before, of_young = TraceEvent.objects.count(), kept(young)
    assert kept(old) == of_young == 10
    assert forget(bench) == 1
    assert forget(bench) == 0
    old = bench.fresh(old)
    assert (kept(old), kept(young)) == (0, of_young)
    with pytest.raises(ValueForgotten, match="was deleted"):
        unseal(old.prompt_sealed)
    assert TraceEvent.objects.count() == before
    assert old.prompt_redacted
    (entry,) = LedgerEntry.objects.filter(kind=LedgerKind.RETENTION)
    facts = ledger.facts_of(entry)
    assert (facts["raw_runs"], facts["raw_values"], facts["days"]) == (1, 10, 10)
    assert ledger.verify(bench.cast.acme.pk) == []


def test_a_batch_is_bounded_and_the_oldest_go_first(bench: Bench) -> None:
    runs = [aged(bench, days) for days in (12, 14, 13)]
    assert forget(bench, limit=2) == 2
    assert [kept(bench.fresh(run)) > 0 for run in runs] == [True, False, False]


def test_a_run_that_goes_on_keeps_what_it_needs(bench: Bench) -> None:
    run = bench.go(JOB)
    Run.objects.filter(pk=run.pk).update(created_at=database_now() - timedelta(days=99))
    assert forget(bench) == 0
    assert bench.approve_all(run).state == RunState.SUCCEEDED


def test_a_legal_hold_keeps_raw_values(bench: Bench) -> None:
    run = aged(bench, 99)
    RetentionPolicy.objects.create(tenant=bench.cast.acme, raw_days=1, legal_hold=True)
    assert retention.raw_retentions() == []
    assert forget(bench) == 0
    assert kept(run) == 10


def test_the_beat_task_does_what_the_policy_says(bench: Bench) -> None:
    run = aged(bench, 3)
    tasks.forget_raw()
    assert kept(bench.fresh(run)) == 10
    RetentionPolicy.objects.create(tenant=bench.cast.acme, raw_days=2, trace_days=400)
    tasks.forget_raw(unknown="argument")
    assert kept(bench.fresh(run)) == 0


def test_who_decided_what_can_still_be_proved_and_nothing_usable_may_be_hollow(bench: Bench) -> None:
    run = aged(bench, 11)
    gate = ApprovalGate.objects.get(run_id=run.pk)
    forget(bench)
    gate.refresh_from_db()
    assert gate_faults(gate) == []
    call_command("verify_approvals", stdout=StringIO())
    with pytest.raises(BadRule, match="were deleted"):
        check_remember(bench.cast.rita, gate)
    for state in (GateState.PENDING, GateState.APPROVED):
        gate.state = state
        assert gate_faults(gate)


def test_pages_of_such_a_run_work(bench: Bench, client: Any) -> None:
    run = aged(bench, 11)
    gate = ApprovalGate.objects.get(run_id=run.pk)
    forget(bench)
    client.force_login(bench.cast.adam)
    for page in (
        f"/runs/{run.pk}/",
        f"/queue/{gate.pk}/",
        f"/runs/{run.pk}/replay/",
        f"/admin/traces/trace/{run.pk}/change/",
    ):
        assert client.get(page).status_code == 200, page


@pytest.mark.parametrize("days", [0, -1])
def test_a_retention_of_nothing_is_refused_at_the_field(bench: Bench, client: Any, days: int) -> None:
    with pytest.raises(ValidationError, match=r"at least one day|greater than or equal"):
        RetentionPolicy(tenant=bench.cast.acme, raw_days=days).full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        RetentionPolicy.objects.create(tenant=bench.cast.acme, raw_days=days)
    client.force_login(bench.cast.adam)
    for field in ("trace_days", "raw_days", "ledger_days"):
        answer = client.post(
            "/admin/traces/retentionpolicy/add/", {"tenant": str(bench.cast.acme.pk), field: str(days)}
        )
        assert answer.status_code == 200
        assert list(answer.context["adminform"].form.errors) == [field]
