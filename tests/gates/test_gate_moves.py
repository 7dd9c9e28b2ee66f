"""Every state, move and person, legal and illegal. The table is written out here; it is not read from the code."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from django.db import transaction

from approvals import gates
from approvals.errors import AlreadyDecided, ApprovalError, Expired, HoldOver, NotApproved, NothingToUndo
from approvals.models import TenantPolicy
from approvals.states import TERMINAL, TRANSITIONS, GateMove, GateState, after
from routekit_site.tenancy.errors import NotAllowed, NotVisible, TenancyError
from tests.fixtures.gates import House, Opened

HOLD = 60

STATES = ("pending", "approved", "rejected", "answered", "expired", "withdrawn", "spent", "lapsed")
PEOPLE = ("alice", "rita", "rolf", "adam", "audra", "carol", "ravi", "oscar")

LEGAL_BY_PERSON = {
    ("pending", "approve", "rita"): "approved",
    ("pending", "approve", "rolf"): "approved",
    ("pending", "approve", "adam"): "approved",
    ("pending", "reject", "rita"): "rejected",
    ("pending", "reject", "rolf"): "rejected",
    ("pending", "reject", "adam"): "rejected",
    ("pending", "respond", "rita"): "answered",
    ("pending", "respond", "rolf"): "answered",
    ("pending", "respond", "adam"): "answered",
    ("pending", "take_back", "alice"): "withdrawn",
    ("pending", "take_back", "adam"): "withdrawn",
    ("pending", "supersede", "rita"): "withdrawn",
    ("pending", "supersede", "rolf"): "withdrawn",
    ("pending", "supersede", "adam"): "withdrawn",
    ("approved", "undo", "rita"): "pending",
    ("approved", "undo", "adam"): "pending",
    ("rejected", "undo", "rita"): "pending",
    ("rejected", "undo", "adam"): "pending",
    ("answered", "undo", "rita"): "pending",
    ("answered", "undo", "adam"): "pending",
}
LEGAL_BY_HOUSE = {
    ("pending", "expire"): "expired",
    ("pending", "withdraw"): "withdrawn",
    ("approved", "withdraw"): "lapsed",
    ("approved", "redeem"): "spent",
    ("approved", "lapse"): "lapsed",
}


def brought_to(house: House, state: str) -> Opened:
    """A gate in `state`, brought there by legal moves; rita is the one who decides."""
    TenantPolicy.objects.update_or_create(
        tenant=house.cast.acme, defaults={"approval_hold_seconds": HOLD, "rejection_hold_seconds": HOLD}
    )
    opened = house.open()
    if state in {"approved", "spent", "lapsed"}:
        house.decide(opened, house.cast.rita)
    if state == "rejected":
        house.decide(opened, house.cast.rita, opened.ballot("reject"))
    if state == "answered":
        house.decide(opened, house.cast.rita, opened.ballot("respond", answer="It is Monday."))
    if state == "spent":
        house.redeem(opened, after=HOLD + 2)
    if state == "lapsed":
        house.sweep(after=HOLD + 902)
    if state == "expired":
        house.sweep(after=3600)
    if state == "withdrawn":
        house.withdraw(opened)
    assert opened.fresh().state == state
    return opened


def by_person(house: House, opened: Opened, move: str, name: str) -> None:
    person = getattr(house.cast, name)
    if move == "undo":
        house.undo(opened, person, after=3)
    elif move == "supersede":
        house.supersede(opened, person, after=3)
    elif move == "take_back":
        with transaction.atomic():
            gates.take_back(opened.gate.pk, person, now=house.later(3))
    else:
        answer = "It is Monday." if move == "respond" else ""
        house.decide(opened, person, opened.ballot(move, answer=answer), after=3)


@pytest.mark.parametrize(
    ("state", "move", "name"),
    [*product(STATES, ("approve", "reject", "respond", "supersede", "take_back", "undo"), PEOPLE)],
)
def test_what_a_person_can_do(house: House, state: str, move: str, name: str) -> None:
    opened = brought_to(house, state)
    expected = LEGAL_BY_PERSON.get((state, move, name))
    if expected is not None:
        by_person(house, opened, move, name)
        assert opened.fresh().state == expected
        return
    before = opened.row()
    with pytest.raises((ApprovalError, TenancyError)):
        by_person(house, opened, move, name)
    assert opened.row() == before


@pytest.mark.parametrize("move", ["approve", "reject", "respond", "supersede", "undo"])
@pytest.mark.parametrize(
    ("name", "error"),
    [("carol", NotVisible), ("ravi", NotVisible), ("oscar", NotVisible), ("alice", NotAllowed), ("audra", NotAllowed)],
)
def test_who_may_not_is_told_so_whatever_the_state(house: House, move: str, name: str, error: type[Exception]) -> None:
    for state in ("pending", "approved", "expired"):
        opened = brought_to(house, state)
        with pytest.raises(error):
            by_person(house, opened, move, name)


HOUSE_MOVES: dict[str, Callable[[House, Opened], object]] = {
    "expire": lambda house, _: house.sweep(after=3600)[0],
    "lapse": lambda house, _: house.sweep(after=HOLD + 902)[1],
    "withdraw": lambda house, opened: house.withdraw(opened),
    "redeem": lambda house, opened: house.redeem(opened, after=HOLD + 2),
}


@pytest.mark.parametrize(("state", "move"), [*product(STATES, HOUSE_MOVES)])
def test_what_the_house_can_do(house: House, state: str, move: str) -> None:
    opened = brought_to(house, state)
    before = opened.row()
    expected = LEGAL_BY_HOUSE.get((state, move))
    if expected is not None:
        assert HOUSE_MOVES[move](house, opened)
        assert opened.fresh().state == expected
        return
    if move == "redeem":
        with pytest.raises(NotApproved):
            HOUSE_MOVES[move](house, opened)
        assert opened.row() == before
    elif move == "expire" and state == "approved":
        # The same sweep lapses it: an approval is not used an hour later.
        assert HOUSE_MOVES[move](house, opened) == 0
        assert opened.fresh().state == "lapsed"
    else:
        assert HOUSE_MOVES[move](house, opened) == 0
        assert opened.row() == before


@pytest.mark.parametrize(
    ("state", "move", "error"),
    [
        ("approved", "approve", AlreadyDecided),
        ("rejected", "approve", AlreadyDecided),
        ("answered", "approve", AlreadyDecided),
        ("approved", "respond", AlreadyDecided),
        ("approved", "take_back", AlreadyDecided),
        ("withdrawn", "approve", AlreadyDecided),
        ("spent", "reject", AlreadyDecided),
        ("lapsed", "approve", AlreadyDecided),
        ("expired", "approve", Expired),
        ("pending", "undo", NothingToUndo),
        ("expired", "undo", NothingToUndo),
        ("withdrawn", "undo", NothingToUndo),
        ("spent", "undo", HoldOver),
        ("lapsed", "undo", HoldOver),
    ],
)
def test_an_impossible_move_says_why(house: House, state: str, move: str, error: type[Exception]) -> None:
    opened = brought_to(house, state)
    with pytest.raises(error):
        by_person(house, opened, move, "adam")


def test_the_table_has_no_other_moves() -> None:
    table = {(start.value, move.value, end.value) for (start, move), end in TRANSITIONS.items()}
    by_people = {
        (state, "withdraw" if move == "take_back" else move, end) for (state, move, _), end in LEGAL_BY_PERSON.items()
    }
    by_house = {
        (state, "lapse" if (state, move) == ("approved", "withdraw") else move, end)
        for (state, move), end in LEGAL_BY_HOUSE.items()
    }
    assert table == by_people | by_house
    assert after(GateState.SPENT, GateMove.UNDO) is None
    assert {state.value for state in TERMINAL} == {"expired", "withdrawn", "spent", "lapsed"}


@pytest.mark.django_db(transaction=True)
def test_every_move_needs_a_transaction(house: House) -> None:
    opened = house.open()
    calls: list[Callable[[], object]] = [
        lambda: gates.decide(opened.gate.pk, house.cast.rita, opened.ballot(), now=house.now),
        lambda: gates.take_back(opened.gate.pk, house.cast.alice, now=house.now),
        lambda: gates.escalate(house.now),
        lambda: gates.undo(opened.gate.pk, house.cast.rita, now=house.now),
        lambda: gates.redeem(opened.gate.pk, opened.binding, opened.verdict, now=house.now),
        lambda: gates.grant(opened.binding, now=house.now),
        lambda: gates.expire(house.now),
        lambda: gates.lapse(house.now),
        lambda: gates.withdraw(opened.gate.run_id, now=house.now, why="cancelled"),
    ]
    for call in calls:
        with pytest.raises(ApprovalError, match="transaction"):
            call()
    with transaction.atomic():
        assert gates.expire(house.now) == 0
