"""A gate whose call was edited gives way to a new one: nothing that was said of the old call counts for the new."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from approvals import gates
from approvals.errors import AlreadyDecided, BadBallot, BadGateRequest, NotApproved, ReasonTooLong, StaleView
from approvals.models import ApprovalGate
from approvals.verification import verify_gates
from tests.fixtures.gates import TWO, House
from traces.models import LedgerEntry, TraceEvent


def test_the_new_gate_asks_about_the_edited_call(house: House) -> None:
    opened = house.open()
    new = house.supersede(opened, house.cast.rita)
    old = opened.fresh()
    assert (old.state, new.state, new.reopens_id, new.edited_by) == ("withdrawn", "pending", old.id, house.cast.rita)
    assert len({old.digest, new.digest}) == len({old.view_digest, new.view_digest}) == 2
    assert len({old.nonce, new.nonce}) == 2
    assert new.presentation["change"] == new.change
    assert new.four_eyes == old.four_eyes
    assert [finding.faults for finding in verify_gates(house.cast.acme.pk)] == [(), ()]


def test_an_earlier_approval_stays_with_the_old_gate(house: House) -> None:
    opened = house.open(approvers=TWO)
    house.decide(opened, house.cast.rita)
    opened.gate.refresh_from_db()
    new = house.supersede(opened, house.cast.rolf)
    assert new.decisions.count() == 0
    with pytest.raises(NotApproved):
        house.redeem(opened)
    with pytest.raises(AlreadyDecided, match=r"edited .* by Rolf Example"):
        house.decide(opened, house.cast.adam)
    assert [finding.faults for finding in verify_gates(house.cast.acme.pk)] == [(), ()]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"digest": "0" * 64}, StaleView),
        ({"view_digest": "0" * 64}, StaleView),
        ({"idempotency_key": ""}, BadBallot),
        ({"idempotency_key": "k" * 65}, BadBallot),
        ({"reason": "r" * 4001}, ReasonTooLong),
        ({"reason": "\ud800"}, BadBallot),
    ],
)
def test_a_forged_or_stale_edit_moves_nothing(house: House, changes: dict[str, Any], error: type[Exception]) -> None:
    opened = house.open()
    before = opened.row()
    with pytest.raises(error):
        house.supersede(opened, house.cast.rita, **changes)
    assert opened.row() == before
    assert ApprovalGate.objects.count() == 1


def test_a_request_of_another_call_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, other = house.open(), house.open()
    before = opened.row()
    real = gates.supersede

    def crossed(gate_id: Any, user: Any, amendment: Any, request: Any, **when: Any) -> ApprovalGate:
        strange = replace(request, binding=replace(request.binding, call_id=other.binding.call_id))
        return real(gate_id, user, amendment, strange, **when)

    monkeypatch.setattr(gates, "supersede", crossed)
    with pytest.raises(BadGateRequest):
        house.supersede(opened, house.cast.rita)
    assert opened.row() == before


def test_undo_is_as_before(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    with pytest.raises(AlreadyDecided):
        house.supersede(opened, house.cast.rolf)
    house.undo(opened, house.cast.rita)
    opened.gate.refresh_from_db()
    assert house.supersede(opened, house.cast.rolf, after=3).state == "pending"


def test_a_reason_is_stored_redacted(house: House) -> None:
    opened = house.open()
    house.supersede(opened, house.cast.rita, reason="anna.schmidt@example.org said so")
    stored = f"{list(LedgerEntry.objects.values())} {list(TraceEvent.objects.values())}"
    assert stored.count("said so") == 2
    assert "anna.schmidt" not in stored
