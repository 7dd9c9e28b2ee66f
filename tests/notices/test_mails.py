"""E-mails: to those who may decide and asked for it, one for many calls, never in quiet hours, never with arguments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import pytest
from django.core import mail

from approvals import notices
from approvals.models import Notice, NoticeState
from approvals.quiet import QuietHours
from routekit_site.tenancy.models import Membership
from tests.fixtures.gates import House
from tests.notices.conftest import minutes, wishes

Tell = Callable[..., int]


def test_one_mail_tells_of_all_calls_and_of_none_of_their_arguments(house: House, tell: Tell) -> None:
    wishes(house.cast.rita)
    opened = [house.open({"path": "salaries-2031.txt", "text": "pay mara.lind@example.org"}) for _ in range(3)]
    assert tell() == 0, "what is decided at once is worth no mail"
    assert tell(31) == 3
    (message,) = mail.outbox
    assert message.to == ["rita@example.org"]
    assert message.subject == "3 calls wait for a decision in Acme"
    text = str(message.body)
    assert "write_file (medium risk), asked by Files and web" in text
    assert all(f"/queue/{each.gate.pk}/" in text for each in opened)
    assert "salaries" not in text
    assert "mara" not in text
    house.open()
    tell(minutes(2))
    assert len(mail.outbox) == 1, "one in five minutes at most"
    tell(minutes(6))
    assert len(mail.outbox) == 2


def test_a_call_that_was_decided_meanwhile_is_left_out(house: House, tell: Tell) -> None:
    wishes(house.cast.rita)
    opened = house.open()
    tell()
    house.decide(opened, house.cast.rolf)
    assert tell(31) == 0
    assert mail.outbox == []
    assert Notice.objects.get().state == NoticeState.DROPPED


def test_only_those_who_may_decide_are_asked(house: House, tell: Tell) -> None:
    for person in (house.cast.alice, house.cast.adam, house.cast.audra, house.cast.ravi, house.cast.oscar):
        wishes(person)
    house.open(requester=house.cast.adam)
    tell()
    tell(31)
    assert mail.outbox == [], "adam's own run, and nobody else may decide or wants mails"
    house.open(requester=house.cast.alice)
    tell(40)
    tell(minutes(2))
    assert [message.to for message in mail.outbox] == [["adam@example.org"]]


def test_the_submitter_is_told_how_it_ended(house: House, tell: Tell) -> None:
    wishes(house.cast.alice, email_waiting=False, email_decided=True)
    opened = house.open()
    house.decide(opened, house.cast.rita, opened.ballot("reject", reason="salaries"))
    tell(2)
    tell(40)
    (message,) = mail.outbox
    assert "write_file (medium risk), asked by Files and web was rejected" in str(message.body)
    assert "salaries" not in str(message.body)


def test_a_role_taken_away_meanwhile_ends_it(house: House, tell: Tell) -> None:
    wishes(house.cast.rita)
    house.open()
    tell()
    Membership.objects.filter(user=house.cast.rita).delete()
    assert tell(31) == 0
    assert mail.outbox == []


def test_quiet_hours_put_mails_off_to_their_end(house: House, tell: Tell) -> None:
    hour = house.now.astimezone(UTC).hour
    until = (hour + 2) % 24
    wishes(house.cast.rita, quiet_from=time(hour), quiet_to=time(until))
    house.open()
    tell()
    assert tell(40) == 0
    assert tell(minutes(121)) == 1
    assert len(mail.outbox) == 1


def test_a_broken_mail_server_breaks_nothing_and_is_tried_again(
    house: House, tell: Tell, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes(house.cast.rita)
    opened = house.open()
    tell()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    # Nothing listens there.
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", 9, 1
    assert tell(31) == 0
    assert "the mail server did not take it" in Notice.objects.get().last_problem
    assert opened.fresh().state == "pending"
    monkeypatch.undo()
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert tell(35) == 0
    assert tell(50) == 1


def test_a_line_break_in_a_name_can_not_end_the_header(house: House, tell: Tell) -> None:
    wishes(house.cast.rita)
    house.cast.acme.name = "Acme\r\nBcc: everybody@example.org"
    house.cast.acme.save()
    house.open()
    tell()
    tell(31)
    assert "\n" not in mail.outbox[0].subject
    assert mail.outbox[0].bcc == []


NIGHT = QuietHours(time(22), time(7), "Europe/Stockholm")


@pytest.mark.parametrize(
    ("moment", "over"),
    [
        (datetime(2026, 1, 10, 20, 59, tzinfo=UTC), None),
        (datetime(2026, 1, 10, 21, 0, tzinfo=UTC), datetime(2026, 1, 11, 6, 0, tzinfo=UTC)),
        (datetime(2026, 1, 11, 5, 59, tzinfo=UTC), datetime(2026, 1, 11, 6, 0, tzinfo=UTC)),
        (datetime(2026, 1, 11, 6, 0, tzinfo=UTC), None),
        # The night in which summer time begins is an hour shorter.
        (datetime(2026, 3, 28, 22, 0, tzinfo=UTC), datetime(2026, 3, 29, 5, 0, tzinfo=UTC)),
    ],
)
def test_quiet_hours_run_over_midnight_in_the_persons_own_zone(moment: datetime, over: datetime | None) -> None:
    assert NIGHT.over_at(moment) == over


def test_an_unknown_zone_is_utc_and_equal_times_are_all_day() -> None:
    always = QuietHours(time(9), time(9), "Nowhere/Else")
    assert always.over_at(datetime(2026, 1, 10, 8, 0, tzinfo=UTC)) == datetime(2026, 1, 10, 9, 0, tzinfo=UTC)


def test_nobody_is_told_of_what_was_before_this_site_told_anybody(house: House) -> None:
    assert notices.tell(lambda: house.now) == 0
    assert Notice.objects.count() == 0
