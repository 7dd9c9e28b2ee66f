"""Columns that belong together are null together, in every model, by a constraint of the database."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, models, transaction

from approvals.models import ApprovalGate, Decision, ToolRule
from tests.fixtures.gates import House

OURS = ("tenancy", "traces", "approvals", "agents")
# `x_at` beside `x_by`, and `x_by` beside `x_until`: the names by which a pair is known.
PAIRS = (("_at", "_by"), ("_by", "_until"), ("d_by", "_until"))


def pairs(model: type[models.Model]) -> list[tuple[str, str]]:
    """The nullable columns of a model that name two sides of one fact."""
    nullable = {field.name for field in model._meta.get_fields() if isinstance(field, models.Field) and field.null}
    found = []
    for name in sorted(nullable):
        for end, other_end in PAIRS:
            other = name.removesuffix(end) + other_end
            if name.endswith(end) and other in nullable and other != name:
                found.append((name, other))
    return found


def constrained(model: type[models.Model]) -> list[frozenset[str]]:
    """The sets of columns that a check constraint of the model speaks of."""
    return [
        frozenset(name.split("__")[0] for name in names(constraint.condition))
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    ]


def names(condition: Any) -> set[str]:
    """The look-ups in a condition."""
    found: set[str] = set()
    for child in getattr(condition, "children", []):
        found |= {child[0]} if isinstance(child, tuple) else names(child)
    return found


MODELS = [model for model in apps.get_models() if model._meta.app_label in OURS]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_pair_has_its_constraint(model: type[models.Model]) -> None:
    for pair in pairs(model):
        assert any(set(pair) <= columns for columns in constrained(model)), f"{model._meta.label}: {pair}"


def test_the_sweep_sees_pairs_at_all() -> None:
    assert ("undone_at", "undone_by") in pairs(Decision)
    assert ("revoked_at", "revoked_by") in pairs(ToolRule)


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "unknown"},
        {"state": "approved"},
        {"state": "rejected"},
        {"state": "expired"},
        {"state": "spent", "decided_at": True, "hold_until": True},
        {"decided_at": True},
        {"decided_at": True, "hold_until": True},
        {"hold_until": True},
        {"execute_by": True},
        {"closed_at": True},
        {"approvals_needed": 0},
        {"change": {"version": 1}},
        {"decide_by": True},
    ],
)
def test_a_gate_that_makes_no_sense_is_refused_by_the_database(house: House, columns: dict[str, Any]) -> None:
    opened = house.open()
    values = {name: house.now if value is True else value for name, value in columns.items()}
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalGate.objects.filter(pk=opened.gate.pk).update(**values)


def test_a_call_has_one_open_gate(house: House) -> None:
    opened = house.open()
    again = ApprovalGate.objects.get(pk=opened.gate.pk)
    again.pk, again.nonce = None, "other"
    with pytest.raises(IntegrityError), transaction.atomic():
        again.save(force_insert=True)


@pytest.mark.parametrize(
    "columns", [{"undone_at": True}, {"kind": "maybe"}, {"undone_by_id": "rita"}], ids=["at", "kind", "by"]
)
def test_a_decision_that_makes_no_sense_is_refused_by_the_database(house: House, columns: dict[str, Any]) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    known = {True: house.now, "rita": house.cast.rita.pk}
    values = {name: known.get(value, value) for name, value in columns.items()}
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.update(**values)
