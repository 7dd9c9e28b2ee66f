"""What stands before Django and Channels: headers that Daphne would believe, and origins that nobody can read.

Note [Two headers of Daphne's]: `Daphne-Root-Path` moves every link and redirect of the answer below a path that the
caller chose (`//evil.example` included). It is meant for a proxy, and nothing tells a proxy's from a stranger's; this
site has a host of its own. `Sec-WebSocket-Protocol` means nothing here, and one that is not ASCII is answered 500 with
a traceback in the log. Both are dropped before Daphne reads them. Daphne offers no seam, and looks its request class
up by name each time, so that name is rebound.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from daphne import http_protocol

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

_DROPPED = (b"daphne-root-path", b"sec-websocket-protocol")


class Request(http_protocol.WebRequest):  # type: ignore[misc]
    """Daphne's request, without the headers that nobody outside may set."""

    def process(self) -> Any:
        """Drop them and go on."""
        for name in _DROPPED:
            self.requestHeaders.removeHeader(name)
        return super().process()


def close() -> None:
    """From now on every connection of this process comes in through `Request`."""
    http_protocol.WebRequest = Request


def with_readable_origin(application: Application) -> Application:
    """Refuse a socket whose Origin is no address: the checks behind this one would end in an error."""

    async def judged(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if all(_readable(value) for name, value in scope["headers"] if name == b"origin"):
            await application(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close"})

    return judged


def _readable(origin: bytes) -> bool:
    try:
        urlsplit(origin.decode("latin1")).port  # noqa: B018 - reading it is the test
    except ValueError:
        return False
    return True
