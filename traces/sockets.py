"""One browser's socket, as the hub sees it: what it may read, what it was sent, and a bound on what it has not read.

Note [Fallen behind]: who is sent more than the bound allows, because they read slowly or because very much happens at
once, is told to start afresh by one `reset` in place of all that was queued. Then the socket is silent until the page
says something, which a live one does at once; what it missed meanwhile is one more `reset`. So nobody's page is cut off
by other people's work, and a browser that never reads costs no more than the bound until the hub closes its socket.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from traces.feed_access import Reader
from traces.kinds import FeedTopic

Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_QUEUED = 1024
# Daphne takes whatever it is given, and kept 27 MB for a browser that never read. So a socket that says nothing
# (no ping, no look) while this much was sent to it is sent no more; a live page says something every 25 s.
MAX_UNANSWERED_BYTES = 1024 * 1024


class Close:
    """Codes with which the server closes a socket.

    Daphne lets an application close with 1000 or with a code of its own (3000 to 4999) and turns any other one into
    1011. So "policy violation" and "try again later" are 4008 and 4013 here, not 1008 and 1013.
    """

    SIGNED_OUT = 4401
    NO_MEMBER = 4403
    BAD_MESSAGE = 4008
    TRY_AGAIN = 4013
    TOO_MANY = 4429


@dataclass(frozen=True)
class Frame:
    """One feed entry, encoded once for everybody: in full, and as a bare number for whom it is not meant."""

    number: int
    text: str
    veiled: str
    concerns: int | None
    topic: str = ""

    def for_reader(self, reader: Reader) -> str:
        """What this reader is sent: the whole feed for who may see all runs; own runs, own role, halts for others."""
        open_to_all = self.topic == FeedTopic.HALT
        return self.text if open_to_all or reader.sees_all or self.concerns == reader.user_id else self.veiled


def encode(message: dict[str, Any]) -> str:
    """A frame's text."""
    return orjson.dumps(message).decode()


def reset(number: int) -> str:
    """The text that tells a page to load its data afresh and to go on from `number`."""
    return encode({"type": "reset", "number": number})


def frame_of(entry: dict[str, Any]) -> Frame:
    """Encode a feed entry (see `live.entries_after`)."""
    veiled = {"type": "entry", "number": entry["number"], "topic": "other", "id": "", "facts": {}, "at": entry["at"]}
    concerns = entry["facts"].get("person" if entry["topic"] == FeedTopic.MEMBERSHIP else "submitter")
    return Frame(
        number=entry["number"],
        text=encode(entry),
        veiled=encode(veiled),
        concerns=concerns if isinstance(concerns, int) else None,
        topic=entry["topic"],
    )


@dataclass(eq=False)
class Socket:
    """The outgoing half of a browser's connection. Used only in the server's event loop."""

    reader: Reader
    send: Send
    sent_number: int = 0
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    unanswered: int = 0
    closing: int | None = None
    # The moment of the event loop's clock since which nothing is sent, and the number of the reset that came last.
    silent_since: float | None = None
    _reset_number: int = 0
    # A queue of asyncio's costs a tenth of a delivery more: it looks its loop up at each wait.
    _waiting: deque[str] = field(default_factory=deque)
    _wanted: asyncio.Future[None] | None = None

    def restart(self, number: int) -> None:
        """Tell the page to start afresh."""
        self.sent_number = number
        self.say(reset(number))

    def offer(self, frame: Frame) -> None:
        """Queue an entry unless it was sent already."""
        if frame.number > self.sent_number:
            self.sent_number = frame.number
            self.say(frame.for_reader(self.reader))

    def say(self, text: str) -> None:
        """Queue a text, unless the reader has fallen behind."""
        if self.closing is not None or self.silent_since is not None:
            return
        self.unanswered += len(text)
        if self.unanswered > MAX_UNANSWERED_BYTES or len(self._waiting) >= MAX_QUEUED:
            self._fall_silent()
        else:
            self._waiting.append(text)
            self._wake()

    def _fall_silent(self) -> None:
        """Put one `reset` in place of what is queued (see Note [Fallen behind])."""
        self.silent_since = asyncio.get_running_loop().time()
        self._reset_number = self.sent_number
        self._waiting.clear()
        self._waiting.append(reset(self.sent_number))
        self._wake()

    def close(self, code: int) -> None:
        """Close at once, whatever is still queued."""
        if self.closing is not None:
            return
        self.closing = code
        self._waiting.clear()
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def heard(self) -> None:
        """The browser said something, so it reads."""
        self.unanswered = 0
        if self.silent_since is not None:
            self.silent_since = None
            if self.sent_number != self._reset_number:
                self.restart(self.sent_number)

    async def write(self) -> None:
        """Send what is queued until the socket is closed."""
        loop = asyncio.get_running_loop()
        while self.closing is None:
            if self._waiting:
                await self.send({"type": "websocket.send", "text": self._waiting.popleft()})
            else:
                self._wanted = loop.create_future()
                await self._wanted
        await self.send({"type": "websocket.close", "code": self.closing})
