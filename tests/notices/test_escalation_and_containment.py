"""Who is told when a second group is called and when a tool is taken out of use; and that no argument is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import time
from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from approvals import containment, gates
from approvals.containment import Offence
from approvals.models import Containment, Notice, NoticeEvent, NoticeState, WebhookEndpoint
from approvals.types import ApproverRequirement
from tests.fixtures.gates import House, Opened
from tests.notices.conftest import Receiver, minutes, wishes

Tell = Callable[..., int]
HALF = minutes(30)


@pytest.fixture
def called(house: House, tell: Tell) -> Callable[[], Opened]:
    """A call of reviewers for which admins are called at half of its hour."""

    def opened() -> Opened:
        found = house.open(
            {"path": "salaries-2031.txt", "text": "pay mara.lind@example.org"},
            approvers=ApproverRequirement(
                roles=("reviewer",), escalation_roles=("admin",), escalate_after_seconds=round(HALF)
            ),
        )
        tell()
        return found

    return opened


def escalate(house: House) -> None:
    """What the sweep does at half of the time."""
    with transaction.atomic():
        gates.escalate(house.later(HALF + 1))


def test_the_second_group_is_told_and_the_first_is_not_told_twice(
    house: House, tell: Tell, called: Callable[[], Opened]
) -> None:
    wishes(house.cast.rita)
    wishes(house.cast.adam)
    found = called()
    tell(31)
    assert [message.to for message in mail.outbox] == [["rita@example.org"]]
    escalate(house)
    tell(HALF + 2)
    tell(HALF + 40)
    assert [message.to for message in mail.outbox[1:]] == [["adam@example.org"]]
    text = str(mail.outbox[1].body)
    assert "Half of the time of these calls is over, and your group was called:" in text
    assert f"/queue/{found.gate.pk}/" in text
    assert "salaries" not in text
    assert "mara" not in text


def test_an_escalation_that_is_settled_or_unwanted_or_in_quiet_hours_is_not_mailed(
    house: House, tell: Tell, called: Callable[[], Opened]
) -> None:
    wishes(house.cast.adam, quiet_from=time(0, 0), quiet_to=time(0, 0))
    found = called()
    escalate(house)
    tell(HALF + 2)
    tell(HALF + 60)
    assert mail.outbox == [], "quiet all day"
    wishes(house.cast.adam, quiet_from=None, quiet_to=None)
    house.decide(found, house.cast.rita)
    tell(minutes(60 * 25))
    assert mail.outbox == []
    assert Notice.objects.get(event=NoticeEvent.ESCALATED).state == NoticeState.DROPPED


def offence(house: House, found: Opened, **changes: Any) -> Offence:
    """A tool that tried to leave its sandbox."""
    told = Offence(
        tenant_id=house.cast.acme.pk,
        tool="write_file",
        agent_id="7",
        agent_name="Files and web",
        attack_class="escape",
        detail="open of /etc/salaries-2031.txt",
        tier="T2",
        run_id=found.gate.run_id,
        call_id=found.gate.call_id,
    )
    return replace(told, **changes)


def lift(house: House, begun: Containment, reason: str) -> None:
    """An admin gives it back."""
    with transaction.atomic():
        containment.lift(begun.pk, house.cast.adam, reason, now=house.later(2))


def contain(house: House, **changes: Any) -> Containment:
    """Take the tool of a call out of use."""
    opened = house.open()
    with transaction.atomic():
        begun = containment.contain(offence(house, opened, **changes), now=house.later(1))
    assert begun is not None
    return begun


def test_admins_who_want_it_are_told_of_a_contained_tool(house: House, tell: Tell) -> None:
    for person in (house.cast.rita, house.cast.alice, house.cast.adam):
        wishes(person, email_waiting=False, email_contained=True)
    begun = contain(house)
    tell(2)
    tell(40)
    (message,) = mail.outbox
    assert message.to == ["adam@example.org"]
    assert message.subject == "1 tool was taken out of use in Acme"
    text = str(message.body)
    assert "- write_file, for Files and web (escape)" in text
    assert f"/admin/approvals/containment/{begun.pk}/change/" in text
    assert "salaries" not in text


def test_nobody_is_told_who_did_not_ask_or_when_it_is_lifted_already(house: House, tell: Tell) -> None:
    wishes(house.cast.adam, email_waiting=True, email_contained=False)
    begun = contain(house)
    tell(2)
    assert not Notice.objects.filter(event=NoticeEvent.CONTAINED).exists()
    wishes(house.cast.adam, email_waiting=False, email_contained=True)
    lift(house, begun, "Looked at it: a wrong path.")
    contained = contain(house)
    tell(4)
    lift(house, contained, "The same again.")
    tell(60)
    assert mail.outbox == []


def test_webhooks_tell_of_it_without_what_the_tool_tried(
    house: House, tell: Tell, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    begun = contain(house, agent_id="", agent_name="")
    lift(house, begun, "Looked at it: salaries are safe.")
    assert endpoint.enabled
    tell(3)
    messages = [json.loads(body) for _headers, body in receiver.came]
    told = [message for message in messages if message["type"].startswith("tool.")]
    assert [message["type"] for message in told] == ["tool.contained", "tool.lifted"]
    assert told[0]["data"]["tool"] == "write_file"
    assert told[0]["data"]["class"] == "escape"
    assert told[0]["data"]["containment"] == str(begun.pk)
    assert "salaries" not in json.dumps(messages)


def test_webhooks_tell_of_an_escalation(
    house: House, tell: Tell, endpoint: WebhookEndpoint, receiver: Receiver, called: Callable[[], Opened]
) -> None:
    called()
    escalate(house)
    tell(HALF + 2)
    assert endpoint.enabled
    assert [json.loads(body)["type"] for _headers, body in receiver.came] == ["gate.waiting", "gate.escalated"]
    assert b"salaries" not in b"".join(body for _headers, body in receiver.came)
