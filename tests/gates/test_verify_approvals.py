"""`manage.py verify_approvals` finds whatever was changed behind the site's back, with the public keys alone."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from approvals.models import ApprovalGate, Decision
from tests.fixtures.gates import TWO, House


def verify(*arguments: str) -> str:
    out = StringIO()
    call_command("verify_approvals", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def lived(house: House) -> House:
    """A tenant in which all there is has happened once."""
    cast = house.cast
    spent, rejected, undone, two, waiting, expired, refused = (
        house.open(approvers=TWO) if number == 3 else house.open() for number in range(7)
    )
    house.decide(spent, cast.rita)
    house.redeem(spent)
    house.decide(rejected, cast.rolf, rejected.ballot("reject", reason="no"))
    house.decide(undone, cast.rita)
    house.undo(undone, cast.rita)
    house.decide(two, cast.rita)
    house.decide(two, cast.rolf)
    house.decide(refused, cast.rita)
    house.redeem(refused, agent_version=2)
    ApprovalGate.objects.filter(pk=expired.gate.pk).update(decide_by=house.later(5))
    house.sweep(after=6)
    house.withdraw(waiting)
    return house


def test_what_happened_on_the_site_holds(lived: House, settings: Any) -> None:
    settings.ROUTEKIT_SIGNING_KEY = None
    assert "acme: 7 gates and 6 decisions hold" in verify()
    assert "acme" not in verify("--tenant", lived.cast.globex.slug)


CHANGES: dict[str, tuple[type[ApprovalGate | Decision], dict[str, Any], dict[str, Any], str]] = {
    "a rejection turned": (Decision, {"kind": "reject"}, {"kind": "approve"}, "not signed"),
    "a reason rewritten": (Decision, {"kind": "reject"}, {"reason": "yes"}, "not signed"),
    "a time moved": (Decision, {}, {"decided_at": "2026-01-01T00:00:00Z"}, "not signed"),
    "an undone decision revived": (Decision, {}, {"undone_at": None, "undone_by": None}, "earlier opening"),
    "a pending gate made approved": (ApprovalGate, {"state": "pending"}, {}, "without the approvals"),
    "a view rewritten": (ApprovalGate, {}, {"presentation": {}}, "stored view"),
    "a digest rewritten": (ApprovalGate, {}, {"digest": "0" * 64}, "stored call"),
    "arguments swapped": (ApprovalGate, {}, {"arguments_sealed": b"?"}, "can't be read"),
    "a requirement lowered": (ApprovalGate, {"approvals_needed": 2}, {"approvals_needed": 1}, "Who has to approve"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_named(lived: House, what: str) -> None:
    model, chosen, columns, said = CHANGES[what]
    if what == "a pending gate made approved":
        at = lived.later(1)
        columns = {"state": "approved", "decided_at": at, "hold_until": at, "execute_by": at}
    assert model.objects.filter(**chosen).update(**columns)
    with pytest.raises(CommandError, match=said):
        verify()


@pytest.mark.parametrize(("state", "said"), [("spent", "without the approvals"), ("rejected", "nobody rejected it")])
def test_a_decision_that_was_deleted_is_missed(lived: House, state: str, said: str) -> None:
    assert lived
    Decision.objects.filter(gate__state=state).delete()
    with pytest.raises(CommandError, match=said):
        verify()


def test_a_pending_gate_with_a_standing_rejection_is_named(lived: House) -> None:
    assert lived
    reset = {"state": "pending", "decided_at": None, "hold_until": None, "closed_at": None}
    ApprovalGate.objects.filter(state="rejected").update(**reset)
    with pytest.raises(CommandError, match="pending, and it was decided"):
        verify()


def test_an_unknown_tenant_and_a_missing_key_are_said(lived: House, settings: Any) -> None:
    assert lived
    with pytest.raises(CommandError, match="no tenant 'initech'"):
        verify("--tenant", "initech")
    settings.ROUTEKIT_VERIFY_KEYS = ()
    with pytest.raises(CommandError, match="ROUTEKIT_VERIFY_KEYS is empty"):
        verify()
