"""A decision by form and by script: bound to what was shown, made once, refused in words."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from approvals.models import ApprovalGate, Decision
from approvals.states import GateState
from routekit_site.tenancy.models import Membership, User
from tests.fixtures.gates import TWO, House, Opened

ClientOf = Callable[[User], Client]
JSON = {"accept": "application/json"}


def fields(opened: Opened, kind: str = "approve", **changes: str) -> dict[str, str]:
    """What the page's form would send."""
    gate = opened.gate
    form = {"kind": kind, "digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": uuid.uuid4().hex}
    return form | changes


def decide(client: Client, opened: Opened, *, script: bool = True, **changes: str) -> Any:
    """Send a decision, as a script or as a plain form; answers with the test client's response."""
    headers = JSON if script else {}
    return client.post(f"/queue/{opened.gate.pk}/decide/", fields(opened, **changes), headers=headers)


def test_the_form_on_the_page_approves_without_a_script(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    client = client_of(house.cast.rita)
    page = client.get(f"/queue/{opened.gate.pk}/").text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    answer = client.post(f"/queue/{opened.gate.pk}/decide/", {**hidden, "kind": "approve"})
    assert answer.status_code == 302
    assert answer["Location"] == f"/queue/{opened.gate.pk}/"
    assert opened.fresh().state == GateState.APPROVED
    after = client.get(answer["Location"]).text
    assert "by Rita Example" in after
    assert "Undo" in after


def test_a_script_is_told_the_state_and_where_to_undo(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    client = client_of(house.cast.rita)
    told = decide(client, opened).json()
    assert told["state"] == "approved"
    assert told["hold_until"]
    undone = client.post(told["undo"], headers=JSON)
    assert undone.json() == {"state": "pending"}
    assert opened.fresh().state == GateState.PENDING


def test_a_rejection_keeps_its_reason_redacted(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    told = decide(client_of(house.cast.rita), opened, kind="reject", reason="Not to bob@example.com please").json()
    assert told["state"] == "rejected"
    reason = Decision.objects.get(gate=opened.gate).reason
    assert "bob@example.com" not in reason
    assert "please" in reason


def test_a_double_submit_is_one_decision(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    client = client_of(house.cast.rita)
    sent = fields(opened)
    answers = [client.post(f"/queue/{opened.gate.pk}/decide/", sent, headers=JSON) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert Decision.objects.filter(gate=opened.gate).count() == 1


def test_the_late_one_reads_who_won(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    decide(client_of(house.cast.rita), opened, kind="reject")
    late = decide(client_of(house.cast.rolf), opened)
    assert late.status_code == 409
    told = late.json()
    assert told["winner"] == "Rita Example"
    assert told["state"] == "rejected"
    assert re.fullmatch(r"This call was already rejected \d+ s ago by Rita Example\.", told["error"])
    page = decide(client_of(house.cast.rolf), opened, script=False)
    assert page.status_code == 409
    assert "by Rita Example" in page.content.decode()
    assert opened.fresh().state == GateState.REJECTED


@pytest.mark.parametrize("changed", ["digest", "view_digest"])
def test_a_forged_or_stale_digest_moves_nothing(client_of: ClientOf, house: House, changed: str) -> None:
    opened, other = house.open(), house.open()
    for value in ("0" * 64, getattr(other.gate, changed)):
        forged = {changed: str(value)}
        answer = decide(client_of(house.cast.rita), opened, **forged)  # type: ignore[arg-type]
        assert answer.status_code == 409
        assert "does not show the call as it stands now" in answer.json()["error"]
    assert opened.fresh().state == GateState.PENDING
    assert not Decision.objects.exists()


def test_a_key_used_for_another_decision_is_refused(client_of: ClientOf, house: House) -> None:
    first, second = house.open(), house.open()
    client = client_of(house.cast.rita)
    decide(client, first, idempotency_key="one-key")
    answer = decide(client, second, idempotency_key="one-key")
    assert answer.status_code == 409
    assert second.fresh().state == GateState.PENDING


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "maybe"}, "form is incomplete"),
        ({"digest": ""}, "form is incomplete"),
        ({"digest": "9" * 65}, "form is incomplete"),
        ({"idempotency_key": ""}, "form is incomplete"),
        ({"idempotency_key": "k" * 65}, "form is incomplete"),
        ({"reason": "x" * 100_000}, "reason is too long"),
        ({"reason": "nul \0 byte"}, "form is incomplete"),
    ],
)
def test_what_cannot_be_taken_is_said(client_of: ClientOf, house: House, changes: dict[str, str], words: str) -> None:
    opened = house.open()
    for script in (True, False):
        answer = decide(client_of(house.cast.rita), opened, script=script, **changes)
        assert answer.status_code == 422
        assert words in answer.content.decode()
    assert opened.fresh().state == GateState.PENDING


def test_nobody_decides_their_own_run(client_of: ClientOf, house: House) -> None:
    opened = house.open(requester=house.cast.adam)
    client = client_of(house.cast.adam)
    answer = decide(client, opened)
    assert answer.status_code == 403
    assert answer.json()["error"] == "You submitted this run, so somebody else has to decide."
    page = client.get(f"/queue/{opened.gate.pk}/").text
    assert "You submitted this run, so somebody else has to decide." in page
    assert 'name="kind"' not in page
    (row,) = client.get("/queue/rows.json").json()["rows"]
    assert row["can_decide"] is False
    assert opened.fresh().state == GateState.PENDING


def test_a_role_that_was_taken_away_a_second_ago_decides_nothing(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    client = client_of(house.cast.rita)
    client.get(f"/queue/{opened.gate.pk}/")
    Membership.objects.filter(user=house.cast.rita).update(role="auditor")
    assert decide(client, opened).status_code == 403
    Membership.objects.filter(user=house.cast.rita).delete()
    assert decide(client, opened).status_code == 404
    assert opened.fresh().state == GateState.PENDING


def test_high_risk_is_approved_by_name_only(
    client_of: ClientOf, house: House, open_risky: Callable[[], Opened]
) -> None:
    opened = open_risky()
    client = client_of(house.cast.rita)
    for typed in ("", "yes", "DELETE_FILE", "write_file"):
        answer = decide(client, opened, confirm=typed)
        assert answer.status_code == 422
        assert "Type the tool&#x27;s name" in answer.text or "Type the tool's name" in answer.text
    assert opened.fresh().state == GateState.PENDING
    assert decide(client, opened, confirm="delete_file").json()["state"] == "approved"


def test_high_risk_is_rejected_without_ado(client_of: ClientOf, house: House, open_risky: Callable[[], Opened]) -> None:
    assert decide(client_of(house.cast.rita), open_risky(), kind="reject").json()["state"] == "rejected"


def test_an_expired_call_says_expired(client_of: ClientOf, house: House) -> None:
    house_then = House(house.cast, house.now - timedelta(hours=2), house.numbers)
    opened = house_then.open()
    answer = decide(client_of(house.cast.rita), opened)
    assert answer.status_code == 409
    assert answer.json()["error"].startswith("This call has expired")


def test_the_first_of_two_approvals_leaves_it_waiting(client_of: ClientOf, house: House) -> None:
    opened = house.open(approvers=TWO)
    client = client_of(house.cast.rita)
    told = decide(client, opened).json()
    assert told["state"] == "pending"
    assert "somebody else" in told["message"]
    page = client.get(f"/queue/{opened.gate.pk}/").text
    assert "You have approved this call." in page
    assert decide(client, opened).status_code == 409
    assert decide(client_of(house.cast.rolf), opened).json()["state"] == "approved"


def test_an_undo_after_the_hold_comes_too_late(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    client = client_of(house.cast.rita)
    assert client.post(f"/queue/{opened.gate.pk}/undo/", headers=JSON).status_code == 403
    decide(client, opened)
    ApprovalGate.objects.update(hold_until=house.now - timedelta(seconds=1))
    answer = client.post(f"/queue/{opened.gate.pk}/undo/", headers=JSON)
    assert answer.status_code == 409
    assert "too late" in answer.json()["error"]
    page = client.get(f"/queue/{opened.gate.pk}/").text
    assert ">Undo" not in page


def test_somebody_else_may_not_undo_it(client_of: ClientOf, house: House) -> None:
    opened = house.open()
    decide(client_of(house.cast.rita), opened)
    assert client_of(house.cast.rolf).post(f"/queue/{opened.gate.pk}/undo/", headers=JSON).status_code == 403
    assert client_of(house.cast.adam).post(f"/queue/{opened.gate.pk}/undo/").status_code == 302
    assert opened.fresh().state == GateState.PENDING
