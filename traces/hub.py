"""One a server process: holds the only subscription to the broker, and fans the feed out to the process's sockets.

Note [Bells and looks]: the broker's bell says only "tenant 7 has reached 4711". The hub then reads what it has not
sent yet from the database, encodes each entry once, and queues it to every socket of the tenant. Every
`POLL_SECONDS` it looks by itself, in one statement for all tenants, so a lost bell, a flushed broker or one that is
down costs that long and nothing else. A subscription per socket would cost 0.5 ms a socket and entry (1,000 sockets:
p99 0.6 s, measured).

Note [A few at a time]: what is queued to a socket is written only when the event loop comes round. Entries are handed
to a hundred sockets, then to the next hundred; so the first of a thousand has its frame while the last ones are being
served, and a page's request waits for a hundred frames and not for a thousand. The feed's number is advanced before
the first of them: a socket that joins meanwhile is caught up from what is remembered, and is not among those served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.layers import get_channel_layer
from django.conf import settings
from django.db import close_old_connections, connections
from django.utils import timezone

from routekit_site.tenancy import faults
from traces import live, meters
from traces.feed_access import Gone, still_reading
from traces.kinds import FeedTopic
from traces.notifier import GROUP
from traces.presence import Looks
from traces.sockets import Close, Frame, Socket, encode, frame_of

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
ACCESS_SECONDS = 2.0
# For a word from a page that was told to start afresh: a heartbeat and a little.
ANSWER_SECONDS = 30.0
_RETRY_SECONDS = 1.0
_REMEMBERED = 500
_DATABASE_THREADS = 4
_OFFERS_AT_ONCE = 100

Answer = TypeVar("Answer")


class Feed:
    """One tenant's feed in this process."""

    def __init__(self, tenant_id: int, number: int) -> None:
        self.tenant_id = tenant_id
        self.number = number
        self.wanted = number
        self.sockets: set[Socket] = set()
        self.recent: deque[Frame] = deque(maxlen=_REMEMBERED)
        self.looks = Looks()
        self.reading = False
        self.joining = 0

    async def publish(self, entries: list[dict[str, Any]]) -> None:
        """Queue new entries, at least one, to every socket (see Note [A few at a time])."""
        faults.point("feed.publish")
        frames = [frame_of(entry) for entry in entries]
        self.number = frames[-1].number
        self.recent.extend(frames)
        sockets = list(self.sockets)
        several = max(1, _OFFERS_AT_ONCE // len(frames))
        for start in range(0, len(sockets), several):
            for socket in sockets[start : start + several]:
                for frame in frames:
                    socket.offer(frame)
            await asyncio.sleep(0)
        for entry in entries:
            meters.published(entry["at"])

    def reset(self, number: int) -> None:
        """Tell every socket to read its page afresh."""
        self.number = self.wanted = number
        self.recent.clear()
        for socket in self.sockets:
            socket.restart(number)

    def remembered_after(self, number: int) -> list[Frame] | None:
        """The entries after `number` if all of them are at hand."""
        if number == self.number:
            return []
        if not self.recent or not self.recent[0].number - 1 <= number <= self.number:
            return None
        return [frame for frame in self.recent if frame.number > number]

    def show(self, subjects: set[str]) -> None:
        """Tell who looks at these subjects to those who may see all runs."""
        for subject in subjects:
            text = encode({"type": "presence", "subject": subject, "people": self.looks.people(subject)})
            for socket in self.sockets:
                if socket.reader.sees_all:
                    socket.say(text)


class Hub:
    """The feeds of one server process; lives in the server's event loop, touches the database in threads of its own."""

    def __init__(self) -> None:
        self._feeds: dict[int, Feed] = {}
        self._open: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(_DATABASE_THREADS, thread_name_prefix="feed")

    async def query(self, function: Callable[..., Answer], *args: Any) -> Answer:
        """Run a database function off the event loop and off the shared thread; at most four at a time."""

        def call() -> Answer:
            close_old_connections()
            try:
                return function(*args)
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def admit(self, socket: Socket) -> bool:
        """Count a socket in, unless its person has `ROUTEKIT_SOCKETS_PER_PERSON` of them open in this process."""
        person = socket.reader.user_id
        if self._open[person] >= settings.ROUTEKIT_SOCKETS_PER_PERSON:
            return False
        self._open[person] += 1
        return True

    def dismiss(self, socket: Socket) -> None:
        """Count a socket out that was counted in."""
        person = socket.reader.user_id
        self._open[person] -= 1
        if not self._open[person]:
            del self._open[person]

    async def join(self, socket: Socket, after: int | None) -> None:
        """Greet a socket, bring it up to date and let it follow.

        Between the last look at the feed's number and the joining nothing else runs, so no entry falls between.
        """
        feed = await self._feed(socket.reader.tenant_id)
        feed.joining += 1
        # Only now: while the feed was looked up, the last other socket may have left and stopped the hub.
        self._start()
        try:
            socket.sent_number = feed.number if after is None else after
            socket.say(encode({"type": "hello", "number": feed.number, "heartbeat": 25}))
            while not await self._caught_up(socket, feed):
                pass
            feed.sockets.add(socket)
        finally:
            feed.joining -= 1
        for subject in feed.looks.subjects() if socket.reader.sees_all else ():
            socket.say(encode({"type": "presence", "subject": subject, "people": feed.looks.people(subject)}))

    async def _feed(self, tenant_id: int) -> Feed:
        """The tenant's feed in this process; begun where the database stands when this is its first socket."""
        if tenant_id not in self._feeds:
            latest = await self.query(live.latest_number, tenant_id)
            self._feeds.setdefault(tenant_id, Feed(tenant_id, latest))
        return self._feeds[tenant_id]

    async def _caught_up(self, socket: Socket, feed: Feed) -> bool:
        frames = feed.remembered_after(socket.sent_number)
        if frames is None:
            found = await self.query(live.entries_after, feed.tenant_id, socket.sent_number)
            if isinstance(found, live.Reset):
                socket.restart(found.number)
                found = []
            frames = [frame_of(entry) for entry in found]
        for frame in frames:
            socket.offer(frame)
        return socket.sent_number >= feed.number

    async def leave(self, socket: Socket) -> None:
        """A socket is gone."""
        tenant_id = socket.reader.tenant_id
        feed = self._feeds.get(tenant_id)
        if feed is None:
            return
        if socket in feed.sockets:
            feed.sockets.discard(socket)
            await self.look(socket, "")
        if not feed.sockets and not feed.joining and self._feeds.get(tenant_id) is feed:
            del self._feeds[tenant_id]
        if not self._feeds:
            self._stop()

    async def look(self, socket: Socket, subject: str) -> None:
        """A socket's person looks at `subject` ("" is at nothing): tell everybody, in all server processes."""
        reader = socket.reader
        if not reader.sees_all:
            return
        message = {
            "type": "feed.look",
            "tenant": reader.tenant_id,
            "socket": socket.key,
            "person": reader.user_id,
            "name": reader.name,
            "subject": subject,
        }
        self._looked(message)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_RETRY_SECONDS):
                await get_channel_layer().group_send(GROUP, message)

    def _start(self) -> None:
        if not self._tasks:
            loop = asyncio.get_running_loop()
            for work in (self._listen, self._poll, self._check_access):
                self._tasks.add(loop.create_task(self._forever(work)))

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._close_connections()

    def _close_connections(self) -> None:
        """Close every thread's database connection; the barrier makes each thread take one of the calls."""
        barrier = threading.Barrier(_DATABASE_THREADS)

        def close() -> None:
            connections.close_all()
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(timeout=_RETRY_SECONDS)

        for _ in range(_DATABASE_THREADS):
            self._threads.submit(close)

    async def _forever(self, work: Callable[[], Any]) -> None:
        """Do `work` over and over; what fails is logged and tried again, and sockets stay open meanwhile."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - a database or broker that is away comes back
                logger.warning("the live feed's %s failed (%s)", work.__name__.strip("_"), type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel("feed")
        await layer.group_add(GROUP, channel)
        try:
            while True:
                message = await layer.receive(channel)
                if message["type"] == "feed.bell":
                    self._wake(message["tenant"], message["number"])
                elif message["type"] == "feed.look":
                    self._looked(message)
        finally:
            await layer.group_discard(GROUP, channel)

    def _looked(self, message: dict[str, Any]) -> None:
        feed = self._feeds.get(message["tenant"])
        if feed is not None:
            now = asyncio.get_running_loop().time()
            who = (message["socket"], message["person"], message["name"])
            feed.show(feed.looks.put(*who, message["subject"], now))

    async def _poll(self) -> None:
        await asyncio.sleep(POLL_SECONDS)
        now = asyncio.get_running_loop().time()
        for feed in self._feeds.values():
            feed.show(feed.looks.drop_stale(now))
            for socket in feed.sockets:
                if socket.silent_since is not None and now - socket.silent_since > ANSWER_SECONDS:
                    socket.close(Close.TRY_AGAIN)
        for tenant_id, number in (await self.query(live.latest_numbers, list(self._feeds))).items():
            self._wake(tenant_id, number)

    def _wake(self, tenant_id: int, number: int) -> None:
        feed = self._feeds.get(tenant_id)
        if feed is None:
            return
        feed.wanted = max(feed.wanted, number)
        if feed.wanted > feed.number and not feed.reading:
            feed.reading = True
            task = asyncio.get_running_loop().create_task(self._read(feed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read(self, feed: Feed) -> None:
        """Read and publish until the feed stands where the last bell said.

        More at once than a page that comes back would be caught up with is a fresh start for all of them.
        """
        try:
            while feed.number < feed.wanted:
                found = await self.query(live.entries_after, feed.tenant_id, feed.number)
                if isinstance(found, live.Reset):
                    # Among what is not read there may be the end of somebody's membership.
                    await self._check(feed.sockets)
                    feed.reset(found.number)
                elif found:
                    if any(entry["topic"] == FeedTopic.MEMBERSHIP for entry in found):
                        # Before they are sent: who was removed hears no more, who sees more from now on does.
                        await self._check(feed.sockets)
                    await feed.publish(found)
                else:
                    feed.wanted = feed.number
        except Exception as error:  # noqa: BLE001 - the next look, a second from now, tries again
            logger.warning("the live feed could not be read (%s)", type(error).__name__)
        finally:
            feed.reading = False

    async def _check_access(self) -> None:
        await asyncio.sleep(ACCESS_SECONDS)
        await self._check([socket for feed in self._feeds.values() for socket in feed.sockets])

    async def _check(self, sockets: Collection[Socket]) -> None:
        """Ask who may still read, and close the sockets of those who may not."""
        sockets = list(sockets)
        answers = await self.query(still_reading, {socket.reader for socket in sockets}, timezone.now())
        for socket in sockets:
            match answers[socket.reader]:
                case Gone.SIGNED_OUT:
                    socket.close(Close.SIGNED_OUT)
                case Gone.NO_MEMBER | Gone.LESS_ALLOWED:
                    socket.close(Close.NO_MEMBER)
                case reader:
                    socket.reader = reader


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def current_hub() -> Hub:
    """The hub of the running event loop: one a server process."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
