"""A waiting call is asked about anew when what is masked has changed since its page was made."""

from __future__ import annotations

import uuid

import pytest
from django.db import transaction

from agents.runs.reopening import reopen_outdated
from agents.states import CallState, RunState
from approvals import gates
from approvals.errors import AlreadyDecided
from approvals.models import ApprovalGate
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from tests.runs.conftest import Bench, allow
from traces import redactors
from traces.models import RedactionPolicy, TraceEvent

WRITE = 'write_file {"path": "summary.txt", "text": "Case 4711-A and carl@example.com"}'


def mask_case_numbers(bench: Bench) -> None:
    """Change the tenant's redaction, as its admin would."""
    hook = redactors.default_hook().model_dump(mode="json")
    hook["redact_patterns"] = [["[0-9]{4}-[A-Z]", "[case]"]]
    RedactionPolicy.objects.update_or_create(tenant=bench.cast.acme, defaults={"hook": hook, "version": 7})


def test_a_raised_redactor_version_reopens_the_gate_with_what_changed(bench: Bench) -> None:
    run = bench.go(WRITE)
    old = bench.gate(run)
    assert reopen_outdated() == 0
    mask_case_numbers(bench)
    assert reopen_outdated() == 1
    new = bench.gate(run)
    assert (new.reopens_id, new.redactor_version % 1_000_000) == (old.pk, 7)
    assert new.arguments_fingerprint == old.arguments_fingerprint
    assert abs((new.decide_by - old.decide_by).total_seconds()) <= 1
    assert "4711-A" in str(old.presentation["arguments"])
    assert "4711-A" not in str(new.presentation)
    said = " ".join(item["text"] for item in new.presentation["change"]["differences"])
    assert "What is masked has changed" in said
    assert "text: 1 masked before, 2 now." in said
    assert reopen_outdated() == 0


def test_the_new_gate_is_decided_and_the_old_page_is_told(bench: Bench) -> None:
    run = bench.go(WRITE)
    old = bench.gate(run)
    mask_case_numbers(bench)
    reopen_outdated()
    with pytest.raises(AlreadyDecided):
        bench.decide(old)
    bench.decide(bench.gate(run))
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert (bench.folder / "summary.txt").read_text() == "Case 4711-A and carl@example.com"
    assert TraceEvent.objects.filter(kind="gate.opened", trace_id=run.id).count() == 2


def test_approvals_on_the_old_page_do_not_count_for_the_new_one(bench: Bench) -> None:
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ASK, approvals_needed=2)
    run = bench.go(WRITE)
    bench.decide(bench.gate(run))
    mask_case_numbers(bench)
    reopen_outdated()
    new = bench.gate(run)
    bench.decide(new, user=bench.cast.rolf)
    assert ApprovalGate.objects.get(pk=new.pk).state == "pending"
    bench.decide(new, user=bench.cast.rita)
    assert ApprovalGate.objects.get(pk=new.pk).state == "approved"


def test_a_call_that_policy_denies_now_stays_and_cannot_run(bench: Bench) -> None:
    run = bench.go(WRITE)
    old = bench.gate(run)
    mask_case_numbers(bench)
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.DENY)
    assert reopen_outdated() == 0
    bench.decide(old)
    bench.advance(run)
    assert bench.calls(run)[0].state == CallState.DENIED
    assert not (bench.folder / "summary.txt").exists()


def test_a_decision_that_came_first_stands(bench: Bench) -> None:
    run = bench.go(WRITE)
    old = bench.gate(run)
    bench.decide(old)
    mask_case_numbers(bench)
    assert reopen_outdated() == 0
    with transaction.atomic():
        request = gates.GateRequest.__new__(gates.GateRequest)
        assert gates.renew(old.pk, request, now=database_now()) is None
    assert ApprovalGate.objects.filter(run_id=uuid.UUID(str(run.id))).count() == 1
