"""Webhooks: signed, in order, tried again, never to a private address, and nothing of a call's arguments in them."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace

import pytest

from approvals import notices, outbound, webhooks
from approvals.models import Notice, NoticeReader, NoticeState, WebhookEndpoint
from routekit_site.tenancy.encryption import unseal
from tests.fixtures.gates import House
from tests.notices.conftest import Receiver, make_endpoint

Tell = Callable[..., int]


def _is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """What a receiver does, by the text of the specification."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = b64decode(secret.removeprefix("whsec_"))
    expected = "v1," + b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return expected in headers["webhook-signature"].split()


@pytest.mark.usefixtures("endpoint")
def test_what_happens_at_a_gate_is_told_signed_and_without_its_arguments(
    house: House, tell: Tell, receiver: Receiver, secret: str
) -> None:
    opened = house.open({"path": "salaries-2031.txt", "text": "pay mara.lind@example.org"})
    assert tell() == 1
    house.decide(opened, house.cast.rita, opened.ballot("reject", reason="Wrong target, salaries"))
    assert tell(2) == 1
    for headers, body in receiver.came:
        assert _is_signed(headers, body, secret)
        assert not _is_signed({**headers, "webhook-timestamp": "1"}, body, secret)
        assert not _is_signed(headers, body + b" ", secret)
        assert b"salaries" not in body
        assert b"mara" not in body
    waiting, decided = (json.loads(body) for _, body in receiver.came)
    assert (waiting["type"], decided["type"]) == ("gate.waiting", "gate.decided")
    assert set(waiting["data"]) == webhooks.GATE_FIELDS
    assert (decided["data"]["state"], decided["data"]["tool"]) == ("rejected", "write_file")
    assert waiting["data"]["url"].endswith(f"/queue/{opened.gate.pk}/")


def test_facts_that_a_webhook_may_not_carry_stay_out_of_it(endpoint: WebhookEndpoint, house: House) -> None:
    facts = {"tool": "write_file", "sentence": "Write salaries.txt", "arguments": {"path": "x"}}
    body = webhooks.body_of(Notice(endpoint=endpoint, event="gate.waiting", facts=facts, at=house.now))
    assert json.loads(body)["data"] == {"tool": "write_file"}


@pytest.mark.usefixtures("endpoint")
def test_a_vote_and_an_undo_are_no_news(house: House, tell: Tell, receiver: Receiver) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita)
    house.undo(opened, house.cast.rita)
    tell(5)
    assert [json.loads(body)["type"] for _, body in receiver.came] == ["gate.waiting", "gate.decided"]


def test_a_failing_endpoint_rests_longer_each_time_and_gets_everything_in_order_at_last(
    house: House, tell: Tell, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    first, second = house.open(), house.open()
    receiver.status = 500
    assert tell() == 0
    assert len(receiver.came) == 1
    assert tell(9) == 0
    assert len(receiver.came) == 1, "it rests for ten seconds"
    assert tell(11) == 0
    assert tell(35) == 0
    assert len(receiver.came) == 2, "and then for thirty"
    endpoint.refresh_from_db()
    assert endpoint.failures == 2
    receiver.status = 200
    assert tell(60) == 2
    gates = [json.loads(body)["data"]["gate"] for _, body in receiver.came]
    assert gates == [str(first.gate.pk)] * 3 + [str(second.gate.pk)]
    ids = {headers["webhook-id"] for headers, _ in receiver.came[:3]}
    assert len(ids) == 1, "each try carries the same id, so that a receiver can tell"
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.retry_at) == (0, None)


def test_a_notice_is_given_up_after_two_days(house: House, tell: Tell, receiver: Receiver) -> None:
    make_endpoint(house.cast.acme, receiver.url, webhooks.new_secret())
    house.open()
    receiver.status = 503
    for days in (0, 1, 3):
        tell(days * 86_400)
    (notice,) = Notice.objects.all()
    assert (notice.state, notice.last_problem) == (NoticeState.GIVEN_UP, "answered 503")


def test_a_redirect_is_a_failure_and_is_not_followed(
    house: House, tell: Tell, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    receiver.status, receiver.location = 302, receiver.url
    house.open()
    assert tell() == 0
    assert len(receiver.came) == 1
    assert Notice.objects.get(endpoint=endpoint).last_problem == "answered 302; redirects are not followed"


def test_gone_switches_the_endpoint_off(
    house: House, tell: Tell, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    receiver.status = 410
    house.open()
    tell()
    endpoint.refresh_from_db()
    assert not endpoint.enabled
    house.open()
    tell(5)
    assert len(receiver.came) == 1


def test_an_answer_that_drips_is_cut_off_at_the_deadline(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "DEADLINE", 0.5)
    receiver.drip = True
    began = time.monotonic()
    assert outbound.post(receiver.url, b"{}", {}) == outbound.Unanswered("no answer within 0 s")
    # Forty times as long as the deadline is what the answer would take.
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "https://example.org:8443/hook",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://10.0.0.8/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:127.0.0.1]/",
        "https://168.63.129.16/",
        "https://user:word@example.org/",
        "https://example.org/#part",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https:///hook",
        "https://exa mple.org/",
        "https://[::1/",
        "",
    ],
)
def test_an_address_that_can_not_be_used_is_refused_before_anything_is_sent(url: str) -> None:
    assert outbound.problem_of(url)
    assert isinstance(outbound.post(url, b"{}", {}), outbound.Unanswered)


@pytest.mark.parametrize("url", ["https://localhost/hook", "https://2130706433/", "https://0x7f.1/", "https://127.1/"])
def test_a_name_that_leads_to_a_private_address_gets_no_connection(url: str) -> None:
    answer = outbound.post(url, b"{}", {})
    assert isinstance(answer, outbound.Unanswered)
    assert "ConnectTimeout" not in answer.problem


def test_a_named_host_is_only_that_host_and_port(receiver: Receiver) -> None:
    assert outbound.post(receiver.url, b"{}", {}) == outbound.Answered(204)
    other = receiver.url.replace("127.0.0.1", "localhost")
    assert isinstance(outbound.post(other, b"{}", {}), outbound.Unanswered)
    assert len(receiver.came) == 1


@pytest.mark.usefixtures("cast")
def test_a_rotation_signs_with_both_secrets_for_a_day(
    house: House, tell: Tell, receiver: Receiver, endpoint: WebhookEndpoint, secret: str
) -> None:
    fresh = webhooks.rotate(endpoint, house.now)
    endpoint.save()
    assert secret.encode() not in bytes(endpoint.secret_sealed)
    assert unseal(endpoint.secret_sealed) == fresh
    house.open()
    tell()
    headers, body = receiver.came[-1]
    assert _is_signed(headers, body, secret)
    assert _is_signed(headers, body, fresh)
    replace(house, now=house.later(86_400)).open()
    tell(86_401)
    headers, body = receiver.came[-1]
    assert not _is_signed(headers, body, secret)
    assert _is_signed(headers, body, fresh)


def test_a_replay_sends_the_same_message_once_more(
    house: House, tell: Tell, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    house.open()
    tell()
    notice = Notice.objects.get(endpoint=endpoint)
    assert notices.replay(notice, house.later(60))
    assert not notices.replay(notice, house.later(61)), "it waits already"
    assert tell(62) == 1
    assert [headers["webhook-id"] for headers, _ in receiver.came] == [str(notice.pk)] * 2


def test_another_tenants_endpoint_is_told_nothing(house: House, tell: Tell, receiver: Receiver) -> None:
    make_endpoint(house.cast.globex, receiver.url, webhooks.new_secret())
    house.open()
    assert tell() == 0
    assert receiver.came == []


def test_one_worker_at_a_time_has_a_tenant(
    house: House, tell: Tell, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    house.open()
    NoticeReader.objects.filter(tenant=house.cast.acme).update(taken_until=house.later(60))
    assert tell() == 0
    assert tell(61) == 1, "a worker that died with it loses it after two minutes"
    assert len(receiver.came) == 1
    assert Notice.objects.get(endpoint=endpoint).state == NoticeState.DELIVERED


def test_the_log_is_emptied_after_two_weeks(house: House, tell: Tell, endpoint: WebhookEndpoint) -> None:
    house.open()
    tell()
    assert notices.forget(house.later(13 * 86_400)) == 0
    assert notices.forget(house.later(15 * 86_400)) == 1
    assert not Notice.objects.filter(endpoint=endpoint).exists()
