"""An approval becomes one permit, and only for exactly what was approved."""

from __future__ import annotations

from approvals.types import Permit
from tests.fixtures.gates import House


def test_an_approved_call_gets_one_permit(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    permit = house.redeem(opened)
    assert isinstance(permit, Permit)
    assert (permit.gate_id, permit.call_id, permit.digest) == (
        opened.gate.pk,
        opened.binding.call_id,
        opened.gate.digest,
    )
    assert opened.fresh().state == "spent"
