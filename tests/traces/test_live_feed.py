"""The live feed over its socket: numbered, complete, caught up with, and only for members."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.layers import channel_layers
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from routekit_site import members
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Role
from tests.fixtures.cast import Cast
from tests.fixtures.loops import run_in_own_loop
from tests.traces.sockets import Browser, session_of
from traces import live
from traces.consumers import past_middleware
from traces.errors import ContentInFeed, NoTransaction
from traces.feed_access import Reader
from traces.kinds import FeedTopic
from traces.models import FeedEntry, TenantHead
from traces.sockets import MAX_QUEUED, Close, Frame, Socket, encode

pytestmark = pytest.mark.django_db(transaction=True)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an asynchronous test with a channel layer of its own."""
    channel_layers.backends.clear()
    run_in_own_loop(test())


def announce(tenant_id: int, number: int, **facts: Any) -> None:
    """One entry, committed, as a worker's thread would."""
    with transaction.atomic(durable=True):
        live.announce(
            tenant_id=tenant_id,
            topic=FeedTopic.RUN,
            subject_id=f"run {number}",
            facts=facts,
            now=datetime.fromisoformat("2026-03-02T09:30:00+00:00"),
        )


def announce_in_thread(tenant_id: int, count: int, **facts: Any) -> threading.Thread:
    """Entries from another thread, one transaction each."""

    def work() -> None:
        try:
            for number in range(count):
                announce(tenant_id, number, **facts)
        finally:
            connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


async def off_loop(function: Callable[..., Any], *args: Any) -> Any:
    """Run database code of the test in a thread."""
    return await sync_to_async(function, thread_sensitive=True)(*args)


def test_an_entry_arrives_with_its_number_id_and_facts(cast: Cast) -> None:
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            assert await browser.next() == {"type": "hello", "number": 0, "heartbeat": 25}
            announce_in_thread(cast.acme.pk, 1, state="waiting").join(60)
            assert await browser.next() == {
                "type": "entry",
                "number": 1,
                "topic": "run",
                "id": "run 0",
                "facts": {"state": "waiting"},
                "at": "2026-03-02T09:30:00+00:00",
            }

    run(test)


def test_a_burst_arrives_complete_and_in_order_at_every_browser(cast: Cast) -> None:
    session = session_of(cast.rita)

    async def numbers(browser: Browser) -> list[int]:
        return [(await browser.until(lambda frame: frame["type"] == "entry", 60))["number"] for _ in range(300)]

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as one, Browser(session, cast.acme.pk, 0) as two:
            await one.greeted()
            thread = announce_in_thread(cast.acme.pk, 300)
            assert list(await asyncio.gather(numbers(one), numbers(two))) == [list(range(1, 301))] * 2
            await asyncio.to_thread(thread.join)

    run(test)


def test_who_comes_or_goes_while_entries_are_handed_round_makes_no_gap(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one offer at a time there are as many moments between two offers as there can be."""
    monkeypatch.setattr("traces.hub._OFFERS_AT_ONCE", 1)
    session = session_of(cast.rita)

    async def numbers(browser: Browser, last: int) -> list[int]:
        found = [0]
        while found[-1] < last:
            found.append((await browser.until(lambda frame: frame["type"] == "entry", 60))["number"])
        return found[1:]

    async def passing(count: int) -> None:
        for last in range(1, count + 1):
            async with Browser(session, cast.acme.pk, 0) as browser:
                assert await numbers(browser, last) == list(range(1, last + 1))

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            arrived = [await stack.enter_async_context(Browser(session, cast.acme.pk)) for _ in range(8)]
            staying = [await browser.greeted() for browser in arrived]
            thread = announce_in_thread(cast.acme.pk, 120)
            _, _, *found = await asyncio.gather(passing(30), passing(30), *(numbers(each, 120) for each in staying))
            assert found == [list(range(1, 121))] * 8
            await asyncio.to_thread(thread.join)

    run(test)


@pytest.mark.parametrize("after", [0, 1, 7, 19])
def test_a_reconnect_gets_exactly_what_it_missed(cast: Cast, after: int) -> None:
    session = session_of(cast.rita)
    for number in range(20):
        announce(cast.acme.pk, number)

    async def test() -> None:
        async with Browser(session, cast.acme.pk, after) as browser:
            assert (await browser.next())["number"] == 20
            assert [(await browser.next())["number"] for _ in range(20 - after)] == list(range(after + 1, 21))
            announce_in_thread(cast.acme.pk, 1).join(60)
            assert (await browser.next())["number"] == 21

    run(test)


@pytest.mark.parametrize(("after", "why"), [(0, "too far behind"), (601, "ahead of what exists"), (10**30, "absurd")])
def test_a_reader_that_cannot_be_caught_up_is_told_to_start_afresh(cast: Cast, after: int, why: str) -> None:
    session = session_of(cast.rita)
    TenantHead.objects.create(tenant=cast.acme, feed_number=600)

    async def test() -> None:
        async with Browser(session, cast.acme.pk, after) as browser:
            await browser.next()
            assert await browser.next() == {"type": "reset", "number": 600}, why
            announce_in_thread(cast.acme.pk, 1).join(60)
            assert (await browser.next())["number"] == 601

    run(test)


def test_entries_that_retention_forgot_mean_a_fresh_start(cast: Cast) -> None:
    for number in range(5):
        announce(cast.acme.pk, number)
    FeedEntry.objects.filter(number__lte=3).delete()
    assert live.entries_after(cast.acme.pk, 1) == live.Reset(5)
    found = live.entries_after(cast.acme.pk, 3)
    assert isinstance(found, list)
    assert [entry["number"] for entry in found] == [4, 5]


def at_once(tenant_id: int, count: int, last: dict[str, Any] | None = None) -> None:
    """So many entries in one transaction, behind the notifier's back; the last one may be another."""
    head, _ = TenantHead.objects.get_or_create(tenant_id=tenant_id)
    common = {"tenant_id": tenant_id, "at": datetime.fromisoformat("2026-03-02T09:30:00+00:00")}
    entry = {"topic": "gate", "subject_id": "g"}
    first = head.feed_number + 1
    rows = [FeedEntry(number=first + place, **common, **entry) for place in range(count)]
    for name, value in (last or {}).items():
        setattr(rows[-1], name, value)
    with transaction.atomic(durable=True):
        FeedEntry.objects.bulk_create(rows)
        TenantHead.objects.filter(pk=head.pk).update(feed_number=head.feed_number + count)


def test_two_thousand_entries_at_once_are_one_fresh_start_for_every_browser(cast: Cast) -> None:
    sessions = [session_of(cast.rita), session_of(cast.adam), session_of(cast.alice)]

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            browsers = [await stack.enter_async_context(Browser(each, cast.acme.pk)) for each in sessions]
            assert [(await each.next())["type"] for each in browsers] == ["hello"] * 3
            await off_loop(at_once, cast.acme.pk, 2000)
            assert [await each.next() for each in browsers] == [{"type": "reset", "number": 2000}] * 3
            await off_loop(announce, cast.acme.pk, 1)
            assert [(await each.next())["number"] for each in browsers] == [2001] * 3

    run(test)


def test_who_was_removed_among_two_thousand_entries_hears_no_more(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traces.hub.ACCESS_SECONDS", 3600)
    rita, adam = session_of(cast.rita), session_of(cast.adam)

    async def test() -> None:
        async with Browser(rita, cast.acme.pk) as one, Browser(adam, cast.acme.pk) as two:
            assert [(await each.next())["type"] for each in (one, two)] == ["hello", "hello"]
            await off_loop(_revoke, cast)
            await off_loop(at_once, cast.acme.pk, 2000, {"topic": "membership"})
            assert await one.next() == {"type": "closed", "code": Close.NO_MEMBER}
            assert await two.next() == {"type": "reset", "number": 2000}

    run(test)


def test_a_page_that_reads_too_slowly_starts_afresh_and_goes_on_as_soon_as_it_speaks(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("traces.sockets.MAX_UNANSWERED_BYTES", 800)
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser, Browser(session, cast.acme.pk) as lively:
            for each in (browser, lively):
                assert (await each.next())["type"] == "hello"
            for number in range(1, 16):
                await off_loop(announce, cast.acme.pk, number)
                assert (await lively.next())["number"] == number
                await lively.say({"type": "ping"})
                assert (await lively.next())["type"] == "pong"
            behind = await browser.until(lambda frame: frame["type"] == "reset")
            assert behind["number"] < 15
            await browser.say({"type": "ping"})
            assert await browser.next() == {"type": "reset", "number": 15}, "what it missed, and nothing in between"
            assert (await browser.next()) == {"type": "pong", "number": 15}
            await off_loop(announce, cast.acme.pk, 16)
            assert [(await each.next())["number"] for each in (browser, lively)] == [16, 16]

    run(test)


def test_a_page_that_missed_nothing_is_not_told_twice(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traces.sockets.MAX_UNANSWERED_BYTES", 200)
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            for number in range(1, 3):
                await off_loop(announce, cast.acme.pk, number)
            assert await browser.until(lambda frame: frame["type"] == "reset") == {"type": "reset", "number": 2}
            await browser.say({"type": "ping"})
            assert await browser.next() == {"type": "pong", "number": 2}

    run(test)


def test_a_page_that_fell_behind_and_says_nothing_is_closed(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traces.sockets.MAX_UNANSWERED_BYTES", 300)
    monkeypatch.setattr("traces.hub.ANSWER_SECONDS", 0)
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            for number in range(1, 4):
                await off_loop(announce, cast.acme.pk, number)
            closed = await browser.until(lambda frame: frame["type"] == "closed")
            assert closed["code"] == Close.TRY_AGAIN

    run(test)


def test_what_waits_for_a_line_that_takes_nothing_is_bounded() -> None:
    reader = Reader(1, 1, "Rita", "", "", sees_all=True)

    async def stuck(_message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        socket = Socket(reader, stuck)
        writing = asyncio.ensure_future(socket.write())
        for number in range(1, 5 * MAX_QUEUED):
            socket.offer(Frame(number, "x", "x", None))
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert [*socket._waiting] == [encode({"type": "reset", "number": MAX_QUEUED + 2})]
        assert socket.closing is None
        writing.cancel()

    run_in_own_loop(test())


def test_a_lost_bell_is_made_up_for(cast: Cast) -> None:
    """The row comes into being behind the notifier's back; the hub finds it by looking."""
    session = session_of(cast.rita)

    def insert() -> None:
        TenantHead.objects.create(tenant=cast.acme, feed_number=1)
        FeedEntry.objects.create(
            tenant=cast.acme,
            number=1,
            topic="gate",
            subject_id="g",
            at=datetime.fromisoformat("2026-03-02T09:30:00+00:00"),
        )

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            await off_loop(insert)
            assert (await browser.next())["number"] == 1

    run(test)


def test_a_server_that_is_held_up_for_a_moment_is_not_called_a_lost_bell(
    cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    """A full collection of a big process, say: until it is over, the bell has no answer, and nothing is wrong."""
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            announce_in_thread(cast.acme.pk, 1).join(60)
            threading.Event().wait(0.6)  # in the server's own loop
            assert (await browser.next())["number"] == 1

    run(test)
    assert "not rung" not in caplog.text


def test_frames_go_past_the_middleware_that_stands_between(cast: Cast) -> None:
    session, noted = session_of(cast.rita), []

    def noting(application: Any) -> Any:
        async def served(scope: dict[str, Any], receive: Any, send: Any) -> None:
            async def note(message: dict[str, Any]) -> None:
                noted.append(message["type"])
                await send(message)

            await application(scope, receive, note)

        return served

    async def test() -> None:
        around = lambda router: past_middleware(noting(AuthMiddlewareStack(router)))  # noqa: E731 - read at once
        async with Browser(session, cast.acme.pk, around=around) as browser:
            assert (await browser.next())["type"] == "hello"
            announce_in_thread(cast.acme.pk, 1).join(60)
            assert (await browser.next())["number"] == 1
            await browser.say({"type": "approve"})
            assert await browser.next() == {"type": "closed", "code": Close.BAD_MESSAGE}

    run(test)
    assert noted == ["websocket.accept"]


def test_a_flushed_broker_costs_nothing_but_a_moment(cast: Cast) -> None:
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            await channel_layers["default"].flush()
            announce_in_thread(cast.acme.pk, 1).join(60)
            assert (await browser.next())["number"] == 1

    run(test)


@pytest.mark.parametrize(
    ("who", "tenant", "origin"),
    [
        (None, "acme", b"http://127.0.0.1:8000"),
        ("carol", "acme", b"http://127.0.0.1:8000"),
        ("oscar", "acme", b"http://127.0.0.1:8000"),
        ("rita", "globex", b"http://127.0.0.1:8000"),
        ("rita", "acme", b"http://evil.example"),
        ("rita", "acme", b"http://127.0.0.1:9999"),
        ("rita", "acme", b"null"),
        ("rita", "acme", b""),
        ("rita", None, b"http://127.0.0.1:8000"),
    ],
)
def test_strangers_and_other_origins_are_refused_in_the_handshake(
    cast: Cast, who: str | None, tenant: str | None, origin: bytes
) -> None:
    session = session_of(getattr(cast, who)) if who else "nobody"
    tenant_id = getattr(cast, tenant).pk if tenant else "1 OR 1=1"

    async def test() -> None:
        async with Browser(session, tenant_id, origin=origin) as browser:
            assert not browser.accepted

    run(test)


def _revoke(cast: Cast) -> None:
    Membership.objects.filter(user=cast.rita, tenant=cast.acme).delete()


def _removed_on_the_page(cast: Cast) -> None:
    admin, member = Client(), Membership.objects.get(user=cast.rita, tenant=cast.acme)
    admin.force_login(cast.adam)
    assert admin.post(f"/members/{member.pk}/remove/").status_code == 302


def _sign_out(_cast: Cast) -> None:
    Session.objects.all().delete()


def _deactivate(cast: Cast) -> None:
    User.objects.filter(pk=cast.rita.pk).update(is_active=False)


def _new_password(cast: Cast) -> None:
    cast.rita.set_password("another password")
    cast.rita.save()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (_revoke, Close.NO_MEMBER),
        (_removed_on_the_page, Close.NO_MEMBER),
        (_sign_out, Close.SIGNED_OUT),
        (_deactivate, Close.SIGNED_OUT),
        (_new_password, Close.SIGNED_OUT),
    ],
)
def test_a_socket_ends_with_what_allowed_it(cast: Cast, end: Callable[[Cast], None], code: int) -> None:
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            await off_loop(end, cast)
            assert await browser.next(within=5) == {"type": "closed", "code": code}

    run(test)


def test_another_tenants_entries_never_arrive(cast: Cast) -> None:
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            announce_in_thread(cast.globex.pk, 3).join(60)
            announce_in_thread(cast.acme.pk, 1, state="queued").join(60)
            assert (await browser.next())["facts"] == {"state": "queued"}

    run(test)


def test_a_developer_sees_own_runs_and_bare_numbers_of_the_rest(cast: Cast) -> None:
    session = session_of(cast.alice)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            announce_in_thread(cast.acme.pk, 1, submitter=cast.rita.pk, state="queued").join(60)
            announce_in_thread(cast.acme.pk, 1, submitter=cast.alice.pk, state="queued").join(60)
            other, own = await browser.next(), await browser.next()
            assert (other["number"], other["topic"], other["id"], other["facts"]) == (1, "other", "", {})
            assert (own["number"], own["id"], own["facts"]["state"]) == (2, "run 0", "queued")

    run(test)


def test_a_role_that_was_given_changes_what_arrives(cast: Cast) -> None:
    session = session_of(cast.alice)

    def promote() -> None:
        Membership.objects.filter(user=cast.alice).update(role=Role.REVIEWER)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            await off_loop(promote)
            topics = []
            for number in range(20):
                await off_loop(announce, cast.acme.pk, number)
                topics.append((await browser.until(lambda frame: frame["type"] == "entry"))["topic"])
                if topics[-1] != "other":
                    break
                await asyncio.sleep(0.25)
            assert topics[0] == "other"
            assert topics[-1] != "other"

    run(test)


def test_a_role_that_was_taken_away_closes_the_socket(cast: Cast) -> None:
    session = session_of(cast.rita)

    def demote() -> None:
        Membership.objects.filter(user=cast.rita).update(role=Role.DEVELOPER)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            await off_loop(demote)
            assert await browser.next(within=5) == {"type": "closed", "code": Close.NO_MEMBER}

    run(test)


def _removed(cast: Cast) -> None:
    gone = Membership.objects.get(user=cast.rita, tenant=cast.acme)
    with transaction.atomic(durable=True):
        members.remove(gone, actor="adam", now=timezone.now())


def _demoted(cast: Cast) -> None:
    with transaction.atomic(durable=True):
        members.give_role(cast.acme, cast.rita, Role.DEVELOPER, actor="adam", now=timezone.now())


@pytest.mark.parametrize("change", [_removed, _demoted])
def test_a_change_of_members_is_heard_by_the_others_and_never_by_who_may_not(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, change: Callable[[Cast], None]
) -> None:
    monkeypatch.setattr("traces.hub.ACCESS_SECONDS", 3600)
    rita, adam = session_of(cast.rita), session_of(cast.adam)

    async def test() -> None:
        async with Browser(rita, cast.acme.pk) as one, Browser(adam, cast.acme.pk) as two:
            assert [(await each.next())["type"] for each in (one, two)] == ["hello", "hello"]
            await off_loop(change, cast)
            assert await one.next() == {"type": "closed", "code": Close.NO_MEMBER}
            told = await two.next()
            role = None if change is _removed else "developer"
            assert (told["topic"], told["id"]) == ("membership", str(cast.rita.pk))
            assert told["facts"] == {"person": cast.rita.pk, "role": role}

    run(test)


def test_a_role_that_is_given_is_heard_at_once_by_who_got_it_and_names_nobody_to_others(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("traces.hub.ACCESS_SECONDS", 3600)
    other = User.objects.create_user("dora")
    Membership.objects.create(user=other, tenant=cast.acme, role=Role.DEVELOPER)
    alice, dora = session_of(cast.alice), session_of(other)

    def promote() -> None:
        with transaction.atomic(durable=True):
            members.give_role(cast.acme, cast.alice, Role.REVIEWER, actor="adam", now=timezone.now())

    async def test() -> None:
        async with Browser(alice, cast.acme.pk) as one, Browser(dora, cast.acme.pk) as two:
            assert [(await each.next())["type"] for each in (one, two)] == ["hello", "hello"]
            await off_loop(promote)
            assert (await one.next())["facts"] == {"person": cast.alice.pk, "role": "reviewer"}
            assert (await two.next())["topic"] == "other"
            await off_loop(announce, cast.acme.pk, 1)
            assert (await one.next())["topic"] == "run", "a reviewer's feed from that moment on"
            assert (await two.next())["topic"] == "other"

    run(test)


def test_people_see_who_looks_at_what(cast: Cast) -> None:
    rita, rolf, alice = session_of(cast.rita), session_of(cast.rolf), session_of(cast.alice)

    def presence(frame: dict[str, Any]) -> bool:
        return bool(frame["type"] == "presence")

    async def test() -> None:
        async with Browser(rolf, cast.acme.pk) as watcher, Browser(alice, cast.acme.pk) as developer:
            async with Browser(rita, cast.acme.pk) as browser:
                await browser.say({"type": "looking", "subject": "gate-1"})
                frame = await watcher.until(presence)
                assert frame == {"type": "presence", "subject": "gate-1", "people": ["Rita Example"]}
                await watcher.say({"type": "looking", "subject": "gate-1"})
                assert (await watcher.until(presence))["people"] == ["Rita Example", "Rolf Example"]
                await developer.say({"type": "looking", "subject": "gate-1"})
            assert (await watcher.until(presence))["people"] == ["Rolf Example"]
            async with Browser(rita, cast.acme.pk) as late:
                assert (await late.until(presence))["people"] == ["Rolf Example"]
            await developer.say({"type": "ping"})
            assert [(await developer.next())["type"] for _ in range(2)] == ["hello", "pong"]

    run(test)


@pytest.mark.parametrize(
    "message", [{"type": "approve"}, {"type": "looking", "subject": 7}, {"type": "looking", "subject": "x" * 2000}, {}]
)
def test_messages_outside_the_protocol_close_the_socket(cast: Cast, message: dict[str, Any]) -> None:
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            await browser.next()
            await browser.say(message)
            assert await browser.next() == {"type": "closed", "code": Close.BAD_MESSAGE}

    run(test)


def test_a_flood_of_messages_closes_the_socket(cast: Cast) -> None:
    session = session_of(cast.rita)

    async def test() -> None:
        async with Browser(session, cast.acme.pk) as browser:
            for _ in range(100):
                await browser.say({"type": "ping"})
            frame = await browser.until(lambda frame: frame["type"] == "closed")
            assert frame["code"] == Close.BAD_MESSAGE

    run(test)


def test_announcing_outside_a_transaction_or_with_content_is_refused(cast: Cast) -> None:
    now = datetime.fromisoformat("2026-03-02T09:30:00+00:00")
    with pytest.raises(NoTransaction):
        live.announce(tenant_id=cast.acme.pk, topic=FeedTopic.RUN, subject_id="r", facts={}, now=now)
    for content in ({"prompt": "x" * 201}, {"arguments": {"path": "a"}}, {"list": [1]}, {"cost": 1.5}):
        with pytest.raises(ContentInFeed), transaction.atomic():
            live.announce(tenant_id=cast.acme.pk, topic=FeedTopic.RUN, subject_id="r", facts=content, now=now)
    assert live.latest_number(cast.acme.pk) == 0


def test_a_rolled_back_entry_gives_its_number_back(cast: Cast) -> None:
    with transaction.atomic():
        live.announce(
            tenant_id=cast.acme.pk,
            topic=FeedTopic.RUN,
            subject_id="r",
            facts={},
            now=datetime.fromisoformat("2026-03-02T09:30:00+00:00"),
        )
        transaction.set_rollback(True)
    announce(cast.acme.pk, 1)
    assert list(FeedEntry.objects.values_list("number", flat=True)) == [1]


def test_one_person_has_so_many_sockets_and_no_more(cast: Cast, settings: Settings) -> None:
    settings.ROUTEKIT_SOCKETS_PER_PERSON = 2
    rita, adam = session_of(cast.rita), session_of(cast.adam)

    async def test() -> None:
        async with Browser(rita, cast.acme.pk) as one:
            async with Browser(rita, cast.acme.pk) as two, Browser(rita, cast.acme.pk) as three:
                assert [(await each.next())["type"] for each in (one, two)] == ["hello", "hello"]
                assert three.accepted, "a page learns nothing from a refused handshake"
                assert await three.next() == {"type": "closed", "code": Close.TOO_MANY}
                async with Browser(adam, cast.acme.pk) as another:
                    assert (await another.next())["type"] == "hello"
            async with Browser(rita, cast.acme.pk) as again:
                assert (await again.next())["type"] == "hello"

    run(test)
