"""How a gate's view is stored: packed, and read back as it was shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from approvals.errors import Tampered
from approvals.models import ApprovalGate
from approvals.packing import PackedView, pack, unpack
from tests.fixtures.gates import House

VIEW: dict[str, Any] = {
    "agent": {"name": "Files and web", "version": 1},
    "risk": "low",
    "sentence": {
        "characters": 15,
        "hidden": 0,
        "lines": 1,
        "masked": 0,
        "segments": [{"kind": "text", "text": "Write notes.txt"}],
    },
    "submitter": {"id": 1, "name": "Alice"},
}
# It, as it was stored when packing began. What was stored once is to be read for ever.
STORED = "q8ZocruBAkIBWJ4rlKcmoTe9UQt9OmR6UIOsWK8EKALJ3rgTvGNOJtAptbUA"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=6,
)


def stored(gate: ApprovalGate) -> str:
    """The column as SQLite holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT presentation FROM approvals_approvalgate WHERE id = %s", [gate.pk.hex])
        return str(cursor.fetchone()[0])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=3), JSON, st.text(max_size=30))
def test_any_view_comes_back_as_it_was(view: dict[str, Any], segments: Any, name: str) -> None:
    whole = {**view, "sentence": {"segments": segments}, "submitter": {"name": name}}
    assert unpack(json.loads(json.dumps(pack(whole)))) == whole


def test_what_was_stored_by_the_first_release_that_packed_is_read() -> None:
    assert unpack({"": STORED, "sentence": {}, "submitter": {}}) == VIEW


@pytest.mark.parametrize("damage", ["", "AAAA", "not base64!", None, 7, "q8Zoc"])
def test_what_cannot_be_opened_stays_as_it_is_stored(damage: Any) -> None:
    assert unpack({"": damage, "sentence": 1}) == {"": damage, "sentence": 1}


def test_a_gate_shows_what_it_was_opened_with_and_is_stored_in_half_the_room(house: House) -> None:
    opened = house.open()
    shown = opened.fresh().presentation
    assert shown == dict(opened.gate.presentation)
    assert shown["tool"]["name"] == "write_file"
    assert len(stored(opened.gate)) < len(json.dumps(shown)) / 2
    row: Any = ApprovalGate.objects.for_rows().get(pk=opened.gate.pk)
    assert row.sentence_block["segments"] == shown["sentence"]["segments"]
    assert row.submitter_name == shown["submitter"]["name"]


def test_a_gate_for_older_workers_is_stored_as_they_read_it(house: House) -> None:
    opened = house.open(packed=False)
    assert json.loads(stored(opened.gate)) == opened.fresh().presentation == opened.gate.presentation
    assert bytes(opened.fresh().arguments_sealed).startswith(b"gAAAA")


def test_nobody_can_decide_on_a_packed_view_that_was_changed(house: House) -> None:
    opened = house.open()
    evil = PackedView({**opened.fresh().presentation, "risk": "low", "warnings": []})
    evil["tool"] = {"name": "read_file", "description": "Read."}
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(presentation=evil)
    with pytest.raises(Tampered):
        house.decide(opened, house.cast.rita)
