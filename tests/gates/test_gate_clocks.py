"""Expiry denies, an unused approval lapses, a cancelled run's gates close; the bell rings after the commit."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from approvals import gates
from approvals.gates import Held, Ready, Refused, Spent, Waiting
from approvals.models import ApprovalGate, TenantPolicy
from approvals.signals import gate_decided
from tests.fixtures.gates import TWO, House
from traces.models import FeedEntry, LedgerEntry, Trace, TraceEvent


@pytest.fixture
def bells() -> Iterator[list[uuid.UUID]]:
    """The gates that `gate_decided` rang for."""
    rung: list[uuid.UUID] = []

    def ring(*, gate_id: uuid.UUID, run_id: uuid.UUID, **_: Any) -> None:
        assert ApprovalGate.objects.filter(pk=gate_id, run_id=run_id).exists()
        rung.append(gate_id)

    gate_decided.connect(ring)
    yield rung
    gate_decided.disconnect(ring)


def test_expiry_denies_and_says_expired_not_rejected(house: House) -> None:
    opened = house.open()
    assert house.sweep(after=3599) == (0, 0)
    assert house.sweep(after=3600) == (1, 0)
    assert gates.standing(opened.fresh(), house.later(3600)) == Refused("expired")
    event = TraceEvent.objects.get(trace_id=opened.gate.run_id, kind="gate.closed")
    assert (event.payload["state"], event.actor) == ("expired", "")
    assert not LedgerEntry.objects.exists()


def test_a_day_of_overdue_gates_expires_oldest_first_in_batches(house: House) -> None:
    opened = [house.open() for _ in range(5)]
    for position, gate in enumerate(opened):
        ApprovalGate.objects.filter(pk=gate.gate.pk).update(decide_by=house.later(100 - position))
    with transaction.atomic():
        assert gates.expire(house.later(86_400), limit=2) == 2
    assert [gate.fresh().state for gate in opened] == ["pending", "pending", "pending", "expired", "expired"]
    with transaction.atomic():
        assert gates.expire(house.later(86_400), limit=500) == 3
        assert gates.expire(house.later(86_400), limit=500) == 0


def test_an_approval_that_is_not_used_in_time_lapses(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita, after=1)
    assert house.sweep(after=6 + 899) == (0, 0)
    assert house.sweep(after=6 + 900) == (0, 1)
    assert gates.standing(opened.fresh(), house.later(1000)) == Refused("lapsed", "Rita Example")


def test_withdrawing_closes_every_open_gate_of_the_run_and_no_other(house: House) -> None:
    run = house.run(house.cast.alice)
    waiting, approved, rejected = (house.open(run_id=run) for _ in range(3))
    other = house.open()
    house.decide(approved, house.cast.rita)
    house.decide(rejected, house.cast.rita, rejected.ballot("reject"))
    assert house.withdraw(waiting, after=10) == 2
    states = [opened.fresh().state for opened in (waiting, approved, rejected, other)]
    assert states == ["withdrawn", "lapsed", "rejected", "pending"]
    assert gates.standing(waiting.fresh(), house.later(10)) == Refused("withdrawn")
    assert house.withdraw(waiting, after=11) == 0


def test_a_gate_tells_its_run_where_it_stands(house: House) -> None:
    TenantPolicy.objects.create(tenant=house.cast.acme, approval_hold_seconds=5, rejection_hold_seconds=5)
    opened, rejected = house.open(), house.open()
    assert gates.standing(opened.fresh(), house.now) == Waiting()
    house.decide(opened, house.cast.rita, after=1)
    house.decide(rejected, house.cast.rolf, rejected.ballot("reject", reason="Not this file."), after=1)
    for gate in (opened, rejected):
        assert gates.standing(gate.fresh(), house.later(5.9)) == Held(house.later(6))
    assert gates.standing(opened.fresh(), house.later(6)) == Ready()
    assert gates.standing(rejected.fresh(), house.later(6)) == Refused("rejected", "Rolf Example", "Not this file.")
    house.redeem(opened, after=6)
    assert gates.standing(opened.fresh(), house.later(7)) == Spent()


def test_the_sweep_finds_what_a_run_can_go_on_from(house: House) -> None:
    opened, waiting = house.open(), house.open()
    house.decide(opened, house.cast.rita, after=1)
    assert not ApprovalGate.objects.answered(house.later(5.9)).exists()
    assert list(ApprovalGate.objects.answered(house.later(6))) == [opened.fresh()]
    assert list(ApprovalGate.objects.released(house.later(6))) == [opened.fresh()]
    house.sweep(after=3600)
    assert set(ApprovalGate.objects.answered(house.later(3600))) == {opened.fresh(), waiting.fresh()}


def test_the_bell_rings_after_the_commit_for_each_answer(
    house: House, bells: list[uuid.UUID], django_capture_on_commit_callbacks: Any
) -> None:
    approved, rejected, undone, overdue, voted = (house.open() for _ in range(5))
    with django_capture_on_commit_callbacks(execute=True):
        house.decide(approved, house.cast.rita)
        house.decide(rejected, house.cast.rita, rejected.ballot("reject"))
        assert bells == []
    assert bells == [approved.gate.pk, rejected.gate.pk]
    with django_capture_on_commit_callbacks(execute=True):
        house.decide(undone, house.cast.rita)
        house.undo(undone, house.cast.rita)
    assert bells[2:] == [undone.gate.pk] * 2
    with django_capture_on_commit_callbacks(execute=True):
        house.sweep(after=4000)
    assert set(bells[4:]) == {overdue.gate.pk, undone.gate.pk, approved.gate.pk, voted.gate.pk}


def test_one_vote_of_two_rings_nobody(
    house: House, bells: list[uuid.UUID], django_capture_on_commit_callbacks: Any
) -> None:
    opened = house.open(approvers=TWO)
    with django_capture_on_commit_callbacks(execute=True):
        house.decide(opened, house.cast.rita)
    assert bells == []


def test_a_receiver_that_fails_does_not_fail_the_decision(
    house: House, django_capture_on_commit_callbacks: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("the broker is away")

    gate_decided.connect(fail)
    try:
        opened = house.open()
        with django_capture_on_commit_callbacks(execute=True):
            house.decide(opened, house.cast.rita)
    finally:
        gate_decided.disconnect(fail)
    assert opened.fresh().state == "approved"
    assert "the broker is away" in caplog.text


def test_the_feed_tells_ids_and_states_in_growing_versions(house: House) -> None:
    opened = house.open({"path": "secret-plan.txt", "text": "x"}, TWO)
    house.decide(opened, house.cast.rita)
    house.decide(opened, house.cast.rolf)
    house.redeem(opened)
    lines = list(FeedEntry.objects.filter(topic="gate").order_by("number"))
    assert [line.facts["state"] for line in lines] == ["pending", "pending", "approved", "spent"]
    assert [line.facts["version"] for line in lines] == [1, 2, 3, 4]
    assert lines[0].facts["run"] == str(opened.gate.run_id)
    assert "secret-plan" not in str([line.facts for line in lines])


def test_the_head_of_the_trace_learns_tool_decision_and_reviewer(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita, opened.ballot("reject"))
    head = Trace.objects.get(pk=opened.gate.run_id)
    assert (head.tools, head.decisions, head.reviewers) == (["write_file"], ["reject"], ["rita"])
