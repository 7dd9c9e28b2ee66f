"""Similar past decisions: of this tenant only, the closest first, without telling the arguments."""

from __future__ import annotations

import pytest

from approvals import precedents
from approvals.models import ApprovalGate
from approvals.precedents import similar
from tests.fixtures.gates import House

SAME = {"path": "report.txt", "text": "same"}


def test_equal_arguments_come_first_then_the_newest(house: House) -> None:
    exact = house.open(SAME)
    house.decide(exact, house.cast.rita, exact.ballot("reject", reason="Not on Fridays."), after=1)
    for seconds in range(2, 6):
        house.decide(house.open(), house.cast.rolf, after=seconds)
    opened = house.open(SAME)
    found = similar(opened.gate, limit=3)
    assert [(past.outcome, past.by, past.same_arguments) for past in found] == [
        ("rejected", "Rita Example", True),
        ("approved", "Rolf Example", False),
        ("approved", "Rolf Example", False),
    ]
    assert found[0].reason == "Not on Fridays."
    assert [past.at for past in found[1:]] == [house.later(5), house.later(4)]


def test_however_many_were_decided_equal_arguments_are_found_and_only_the_newest_others_are_sought(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precedents, "RECENT", 2)
    exact, own_agents, *others = house.open(SAME), house.open(), house.open(), house.open()
    for seconds, each in enumerate((exact, own_agents, *others), start=1):
        house.decide(each, house.cast.rita, after=seconds)
    for each in others:
        ApprovalGate.objects.filter(pk=each.gate.pk).update(agent_id="another")
    found = similar(house.open(SAME).gate)
    assert [past.gate_id for past in found] == [exact.gate.pk, others[1].gate.pk, others[0].gate.pk]
    assert own_agents.gate.pk not in {past.gate_id for past in found}


def test_what_nobody_decided_is_no_precedent(house: House) -> None:
    opened, undone = house.open(SAME), house.open(SAME)
    house.decide(undone, house.cast.rita)
    house.undo(undone, house.cast.rita)
    house.open(SAME)
    house.sweep(after=3600)
    assert similar(opened.gate) == ()


def test_another_tenants_decisions_are_never_shown(house: House) -> None:
    past = house.open(SAME)
    house.decide(past, house.cast.rita)
    opened = house.open(SAME)
    ApprovalGate.objects.filter(pk=past.gate.pk).update(tenant=house.cast.globex)
    assert similar(opened.gate) == ()
