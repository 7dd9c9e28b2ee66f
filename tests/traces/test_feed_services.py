"""The live feed on PostgreSQL and Redis, through the web process that the compose file names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from tests.fixtures.compose import PROJECT
from tests.fixtures.loops import run_in_own_loop
from tests.fixtures.migrated import migrated_database
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, prepare_stack, start_compose, stopping
from tests.fixtures.services import Services, free_port, missing

TENANT = "acme"


def write(site: Site, count: int, *, threads: int = 1, together: int = 1) -> subprocess.Popen[bytes]:
    """Start a process that commits entries."""
    command = [sys.executable, "-m", "tests.traces.feed_writer", TENANT, str(count), str(threads), str(together)]
    environment = {**site.environment, "DJANGO_SETTINGS_MODULE": "routekit_site.settings"}
    return subprocess.Popen(command, cwd=PROJECT, env=environment)


def query(site: Site, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the site's database."""
    with psycopg.connect(site.environment["DATABASE_URL"]) as connection:
        return connection.execute(sql).fetchall()


def latest(site: Site) -> int:
    """The highest feed number."""
    return int(query(site, "SELECT coalesce(max(feed_number), 0) FROM traces_tenanthead")[0][0])


class Door:
    """Opens sockets as rita."""

    def __init__(self, site: Site) -> None:
        self._site = site
        client = site.sign_in("rita")
        self._cookie = f"sessionid={client.cookies['sessionid']}"
        self.tenant = query(site, "SELECT id FROM tenancy_tenant WHERE slug = 'acme'")[0][0]

    def socket(self, after: int | None = None, **options: Any) -> connect:
        """A socket that follows acme's feed."""
        place = f"{self._site.url.replace('http', 'ws', 1)}/ws/feed/?tenant={self.tenant}"
        place += "" if after is None else f"&after={after}"
        return connect(place, origin=Origin(self._site.url), additional_headers={"Cookie": self._cookie}, **options)


async def frame(browser: ClientConnection) -> dict[str, Any]:
    """The next frame that arrives."""
    found: dict[str, Any] = json.loads(await asyncio.wait_for(browser.recv(), 60))
    return found


async def entries(browser: ClientConnection, until: int, *, within: float = 60) -> list[int]:
    """Numbers of the entries that arrive, until `until` did. A reset counts as what it stands for."""
    numbers: list[int] = []
    async with asyncio.timeout(within):
        while not numbers or numbers[-1] < until:
            found = await frame(browser)
            if found["type"] in {"entry", "reset"}:
                numbers.append(found["number"])
                if len(numbers) % 1000 == 0:
                    # As a live page does: it shows that it reads.
                    await browser.send('{"type": "ping"}')
    return numbers


@pytest.fixture(scope="module")
def web(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A web process on a fresh database, with a Redis of its own that a test may kill."""
    if shutil.which("redis-server") is None:
        missing("redis-server is not installed, so no Redis can be killed")
    port, directory = free_port(), tmp_path_factory.mktemp("feed")
    with migrated_database(services.database_url) as database_url:
        # One person's sockets stand for many people's.
        own = Services(database_url, f"redis://127.0.0.1:{port}/0")
        site = prepare_stack(directory, own, ROUTEKIT_SOCKETS_PER_PERSON="100")
        with stopping(site):
            start_redis(site)
            start_compose(site, "web")
            eventually(lambda: serves(site), within=120, what="the web process")
            yield site


def serves(site: Site) -> bool:
    """Whether the web process answers; without a worker the site as a whole never gets ready."""
    try:
        return httpx.get(f"{site.url}/healthz").is_success
    except httpx.TransportError:
        return False


def start_redis(site: Site) -> None:
    """Start the site's Redis."""
    port = site.environment["REDIS_URL"].rsplit(":", 1)[1].split("/")[0]
    site.start(
        "redis", ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(site.directory)]
    )
    eventually(lambda: answers(site), what="the Redis of the test")


def redis_of(site: Site) -> redis.Redis:
    """A client of the site's Redis."""
    return redis.Redis.from_url(site.environment["REDIS_URL"])


def answers(site: Site) -> bool:
    """Whether the site's Redis is up."""
    try:
        return bool(redis_of(site).ping())
    except redis.RedisError:
        return False


def test_a_command_ends_when_its_bells_are_rung(web: Site) -> None:
    # By a name, as in containers: the command's loop looks it up in a thread, which no process that ends gets any more.
    by_name = web.environment | {"REDIS_URL": web.environment["REDIS_URL"].replace("127.0.0.1", "localhost")}
    with redis_of(web).pubsub() as listener:  # type: ignore[no-untyped-call]
        listener.psubscribe("*")
        eventually(lambda: listener.get_message(timeout=0.1), what="the subscription")
        command = [sys.executable, "manage.py", "member", "set", TENANT, "rita", "--role", "admin"]
        done = subprocess.run(command, cwd=PROJECT, env=by_name, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        heard = eventually(lambda: listener.get_message(timeout=0.1), within=5, what="the bell") or {}
    assert b"feed.bell" in heard["data"]


def test_numbers_are_gapless_and_visible_in_order_under_concurrent_commits(web: Site) -> None:
    before = latest(web)
    writers = [write(web, 60, threads=4) for _ in range(3)]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        # What a reader sees at any moment is a prefix: as many rows as the highest number says.
        count, highest = query(web, "SELECT count(*), coalesce(max(number), 0) FROM traces_feedentry")[0]
        assert count == highest
        seen = max(seen, highest)
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert query(web, "SELECT count(*), max(number) FROM traces_feedentry") == [(before + 720, before + 720)]
    assert seen > before
    assert "acme:" in web.manage("verify_ledger").stdout


def test_every_browser_gets_every_entry_once_through_one_subscription(web: Site) -> None:
    door = Door(web)

    async def test() -> list[list[int]]:
        start = latest(web)
        browsers = [await door.socket(start) for _ in range(25)]
        # Open is not followed yet: the first greeting comes from the hub, which subscribes then.
        assert [(await frame(browser))["type"] for browser in browsers] == ["hello"] * 25
        await asyncio.to_thread(eventually, subscribed, what="the hub's subscription")
        subscribers = redis_of(web).pubsub_numsub(*redis_of(web).pubsub_channels("*feed*"))
        assert [count for _, count in subscribers] == [1] * len(subscribers)
        writer = await asyncio.to_thread(write, web, 50, threads=4)
        found = await asyncio.gather(*(entries(browser, start + 200) for browser in browsers))
        assert await asyncio.to_thread(writer.wait, 120) == 0
        for browser in browsers:
            await browser.close()
        return [[number - start for number in numbers] for numbers in found]

    def subscribed() -> bool:
        return bool(redis_of(web).pubsub_channels("*__group__feed"))

    assert run_in_own_loop(test()) == [list(range(1, 201))] * 25


def test_an_idle_socket_stays_open(web: Site) -> None:
    """channels_redis with its defaults closes one after 5.8 s."""
    door = Door(web)

    async def test() -> None:
        async with door.socket() as browser:
            await frame(browser)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(browser.recv(), 9)
            await browser.send('{"type": "ping"}')
            assert (await frame(browser))["type"] == "pong"

    run_in_own_loop(test())


def test_a_killed_broker_delays_and_loses_nothing(web: Site) -> None:
    door = Door(web)

    async def test() -> None:
        start = latest(web)
        async with door.socket(start) as browser:
            web.processes["redis"].kill()
            assert await asyncio.to_thread(write(web, 10).wait, 60) == 0
            assert await entries(browser, start + 10) == list(range(start + 1, start + 11))
            await asyncio.to_thread(start_redis, web)
            await asyncio.to_thread(eventually, subscribed, what="the hub's subscription")
            assert await asyncio.to_thread(write(web, 10).wait, 60) == 0
            assert await entries(browser, start + 20) == list(range(start + 11, start + 21))

    def subscribed() -> bool:
        return bool(redis_of(web).pubsub_channels("*__group__feed"))

    run_in_own_loop(test())


def test_a_browser_that_never_reads_is_told_to_start_afresh_and_holds_nobody_up(web: Site) -> None:
    door = Door(web)

    async def test() -> None:
        start = latest(web)
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.connect(("127.0.0.1", int(web.url.rsplit(":", 1)[1])))
        async with door.socket(start, sock=small, max_queue=1, ping_interval=None) as stuck:
            stuck.transport.pause_reading()
            async with door.socket(start) as reader:
                writer = await asyncio.to_thread(write, web, 10_000, together=250)
                assert (await entries(reader, start + 10_000, within=90))[-1] == start + 10_000
                assert await asyncio.to_thread(writer.wait, 120) == 0
            stuck.transport.resume_reading()
            # What was kept for it is bounded and ends with the reset. On a slow machine its time may be over, too.
            taken, found = 0, {"type": "hello"}
            with contextlib.suppress(ConnectionClosed):
                while found["type"] != "reset":
                    found = await frame(stuck)
                    taken += len(json.dumps(found))
            if stuck.close_code is None:
                await stuck.send('{"type": "ping"}')
                assert (await entries(stuck, start + 10_000))[-1] == start + 10_000
            assert stuck.close_code in {None, 4013}
            assert taken < 2 * 1024 * 1024

    run_in_own_loop(test())


def test_a_thousand_missed_entries_mean_a_fresh_start(web: Site) -> None:
    door, start = Door(web), latest(web)
    assert write(web, 1000, together=250).wait(60) == 0

    async def test() -> None:
        async with door.socket(start) as browser:
            hello, reset = await frame(browser), await frame(browser)
            assert reset == {"type": "reset", "number": hello["number"]}

    run_in_own_loop(test())


def test_a_page_of_another_site_and_a_stranger_are_refused(web: Site) -> None:
    door = Door(web)

    async def refused(open_socket: Callable[[], connect]) -> bool:
        try:
            async with open_socket():
                return False
        except Exception as error:  # noqa: BLE001 - whatever the library calls it
            return "403" in str(error)

    async def test() -> None:
        place = f"{web.url.replace('http', 'ws', 1)}/ws/feed/?tenant={door.tenant}"
        assert await refused(lambda: connect(place, origin=Origin(web.url)))
        assert await refused(lambda: connect(place))
        door_cookie = {"Cookie": door._cookie}
        assert await refused(
            lambda: connect(place, origin=Origin("https://evil.example"), additional_headers=door_cookie)
        )
        assert await refused(lambda: connect(place + "0", origin=Origin(web.url), additional_headers=door_cookie))

    run_in_own_loop(test())
