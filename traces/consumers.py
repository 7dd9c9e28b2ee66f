"""The site's one WebSocket: a tenant's live feed. It only tells; whatever changes something is an HTTP request.

A plain ASGI application instead of a Channels consumer: a consumer would hold a broker subscription of its own for
each socket and touch the shared database thread on each message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from django.conf import settings

from traces.feed_access import reader
from traces.hub import Hub, current_hub
from traces.sockets import Close, Send, Socket, encode

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

_SERVER_SEND = "traces.server_send"
_MAX_MESSAGE = 1024
_MAX_SUBJECT = 100
_MAX_NUMBER = 2**63 - 1
_MAX_DIGITS = 20
_MESSAGES_PER_SECOND = 20


def past_middleware(application: Application) -> Application:
    """Let the feed's frames go to the server itself, past the middleware that stands between.

    Channels' session middleware asks at each message whether a session must be saved, and saves it with the start of
    an HTTP answer only: a tenth of a frame's way, for nothing. Where this is not around it, frames go through it.
    """

    async def served(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await application({**scope, _SERVER_SEND: send}, receive, send)

    return served


def _header(scope: dict[str, Any], name: bytes) -> str:
    return next((value.decode("latin1") for key, value in scope["headers"] if key == name), "")


def _from_this_site(scope: dict[str, Any]) -> bool:
    """Whether the page that opens the socket is one of this site: same host and port, or a trusted origin."""
    origin = _header(scope, b"origin")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    return bool(origin) and urlsplit(origin).netloc.lower() == _header(scope, b"host").lower()


def _number(text: str) -> int | None:
    """A whole number from the address, at most `_MAX_NUMBER`; None where there is none."""
    if not (text.isascii() and text.isdigit()):
        return None
    return min(int(text[:_MAX_DIGITS]), _MAX_NUMBER)


async def _admitted(scope: dict[str, Any], hub: Hub, send: Send) -> Socket | None:
    """The socket of somebody who may read the feed that the address names."""
    query = parse_qs(scope.get("query_string", b"").decode("latin1"))
    tenant_id = _number(query.get("tenant", [""])[0])
    user = scope.get("user")
    if tenant_id is None or user is None or not user.is_authenticated or not _from_this_site(scope):
        return None
    found = await hub.query(reader, user, tenant_id, scope["session"].session_key or "")
    return Socket(found, scope.get(_SERVER_SEND, send)) if found else None


class _Pace:
    """Counts a browser's messages, second by second."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0

    def too_fast(self, now: float) -> bool:
        """Whether this message is one too many."""
        second = int(now)
        self._count = self._count + 1 if second == self._second else 1
        self._second = second
        return self._count > _MESSAGES_PER_SECOND


def _parsed(text: str) -> dict[str, Any] | None:
    if len(text) > _MAX_MESSAGE:
        return None
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


async def _heard(message: dict[str, Any] | None, socket: Socket, hub: Hub) -> None:
    """Answer one message of the browser."""
    socket.heard()
    kind = message.get("type") if message else None
    subject = message.get("subject", "") if message else ""
    if kind == "ping":
        socket.say(encode({"type": "pong", "number": socket.sent_number}))
    elif kind == "looking" and isinstance(subject, str) and len(subject) <= _MAX_SUBJECT:
        await hub.look(socket, subject)
    else:
        socket.close(Close.BAD_MESSAGE)


async def _read(receive: Receive, socket: Socket, hub: Hub) -> None:
    pace = _Pace()
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        if pace.too_fast(asyncio.get_running_loop().time()):
            socket.close(Close.BAD_MESSAGE)
        else:
            await _heard(_parsed(event.get("text") or ""), socket, hub)


async def feed(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Serve one socket at /ws/feed/?tenant=<id>&after=<number>.

    Refused in the handshake (403): nobody signed in, no member of the tenant, a page of another origin. Closed later
    with 4403 when the membership or its right to see all ends, 4401 with the session or the account, 4013 when the
    browser was told to start afresh and says nothing more (come back and catch up),
    4008 for messages that are none of the protocol's.
    Closed at once with 4429: too many sockets of one person in this process.
    """
    await receive()
    hub = current_hub()
    try:
        socket = await _admitted(scope, hub, send)
    except Exception as error:  # noqa: BLE001 - a database that is away: the browser tries again
        logger.warning("a socket of the live feed was refused (%s)", type(error).__name__)
        socket = None
    if socket is None:
        await send({"type": "websocket.close", "code": Close.NO_MEMBER})
        return
    # What is closed in the handshake tells a page nothing but 1006: so this one is let in, and told why it must go.
    await send({"type": "websocket.accept"})
    if not hub.admit(socket):
        await send({"type": "websocket.close", "code": Close.TOO_MANY})
        return
    after = _number(parse_qs(scope["query_string"].decode("latin1")).get("after", [""])[0])
    try:
        await _serve(socket, hub, receive, after)
    finally:
        hub.dismiss(socket)


async def nothing_here(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Refuse a socket at any other address."""
    del scope
    await receive()
    await send({"type": "websocket.close", "code": Close.NO_MEMBER})


async def _follow(socket: Socket, hub: Hub, receive: Receive, after: int | None) -> None:
    """Bring the socket up to date, and listen to the browser until it goes."""
    try:
        await hub.join(socket, after)
    except Exception as error:  # noqa: BLE001 - as above
        logger.warning("a socket of the live feed could not catch up (%s)", type(error).__name__)
        socket.close(Close.TRY_AGAIN)
    await _read(receive, socket, hub)


async def _serve(socket: Socket, hub: Hub, receive: Receive, after: int | None) -> None:
    """Write and read side by side until either ends."""
    writing = asyncio.ensure_future(socket.write())
    reading = asyncio.ensure_future(_follow(socket, hub, receive, after))
    try:
        await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writing, reading):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        await hub.leave(socket)
