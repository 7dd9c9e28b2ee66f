"""A decision can be taken back inside the server's hold, and never counts again."""

from __future__ import annotations

import pytest

from approvals.errors import HoldOver, NothingToUndo
from approvals.models import ApprovalGate, Decision, TenantPolicy
from approvals.redemption import Drifted
from approvals.types import Permit
from routekit_site.tenancy.errors import NotAllowed
from tests.fixtures.gates import TWO, House
from traces import ledger
from traces.models import FeedEntry, LedgerEntry, TraceEvent


def test_undo_brings_the_gate_back_with_another_nonce_and_keeps_what_pages_show(house: House) -> None:
    opened = house.open()
    decision = house.decide(opened, house.cast.rita, after=1)
    gate = house.undo(opened, house.cast.rita, after=2)
    stored = opened.fresh()
    assert stored.state == gate.state == "pending"
    assert stored.nonce != opened.gate.nonce
    assert (stored.digest, stored.view_digest) == (opened.gate.digest, opened.gate.view_digest)
    assert (stored.decided_at, stored.hold_until, stored.execute_by) == (None, None, None)
    decision.refresh_from_db()
    assert (decision.undone_at, decision.undone_by) == (house.later(2), house.cast.rita)
    house.decide(opened, house.cast.rita, after=3)
    assert isinstance(house.redeem(opened), Permit)


def test_undo_is_told_to_trace_ledger_and_feed(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    house.undo(opened, house.cast.adam)
    event = TraceEvent.objects.get(trace_id=opened.gate.run_id, kind="gate.undone")
    entry = LedgerEntry.objects.filter(tenant=house.cast.acme).latest("number")
    feed = FeedEntry.objects.filter(subject_id=str(opened.gate.pk)).order_by("number")
    assert event.actor == "adam"
    assert ledger.facts_of(entry)["undone"] == "approved"
    assert [line.facts["state"] for line in feed] == ["pending", "approved", "pending"]
    assert [line.facts["version"] for line in feed] == [1, 2, 3]


def test_the_hold_ends_to_the_second(house: House) -> None:
    early, late = house.open(), house.open()
    for opened in (early, late):
        house.decide(opened, house.cast.rita, after=1)
    house.undo(early, house.cast.rita, after=5.999)
    with pytest.raises(HoldOver):
        house.undo(late, house.cast.rita, after=6)
    assert late.fresh().state == "approved"


def test_only_whoever_decided_or_an_admin_can_undo(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    with pytest.raises(NotAllowed, match="Only whoever decided, or an admin"):
        house.undo(opened, house.cast.rolf)
    house.undo(opened, house.cast.adam)
    assert opened.fresh().state == "pending"


def test_a_second_undo_finds_nothing(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    house.undo(opened, house.cast.adam)
    with pytest.raises(NothingToUndo):
        house.undo(opened, house.cast.adam)


def test_a_rejection_can_be_undone_only_where_the_tenant_asks_for_a_hold(house: House) -> None:
    at_once = house.open()
    house.decide(at_once, house.cast.rita, at_once.ballot("reject"), after=1)
    with pytest.raises(HoldOver):
        house.undo(at_once, house.cast.rita, after=1)
    TenantPolicy.objects.create(tenant=house.cast.acme, rejection_hold_seconds=10)
    held = house.open()
    house.decide(held, house.cast.rita, held.ballot("reject"), after=1)
    house.undo(held, house.cast.rita, after=10)
    assert held.fresh().state == "pending"
    assert held.fresh().closed_at is None


def test_undoing_takes_all_votes_of_the_round_back(house: House) -> None:
    opened = house.open(approvers=TWO)
    house.decide(opened, house.cast.rita, after=1)
    house.decide(opened, house.cast.rolf, after=2)
    house.undo(opened, house.cast.rolf, after=3)
    assert not Decision.objects.standing().exists()
    house.decide(opened, house.cast.rita, after=4)
    assert opened.fresh().state == "pending"


def test_a_decision_that_was_undone_counts_never_again_even_for_somebody_who_writes_the_database(
    house: House,
) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita, after=1)
    approved = ApprovalGate.objects.filter(pk=opened.gate.pk).values().get()
    house.undo(opened, house.cast.rita, after=2)
    # Everything is put back as it was while approved, but for the nonce.
    Decision.objects.update(undone_at=None, undone_by=None)
    columns = {name: approved[name] for name in ("state", "decided_at", "hold_until", "execute_by", "closed_at")}
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(**columns)
    answer = house.redeem(opened)
    assert isinstance(answer, Drifted)
    assert [item["fact"] for item in answer.change["differences"]] == ["integrity"]
    assert "earlier opening" in answer.change["differences"][0]["text"]
