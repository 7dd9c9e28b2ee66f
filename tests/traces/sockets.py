"""A browser's end of the live feed, in the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from routekit_site.tenancy.models import User
from traces.routing import websocket_urlpatterns

HOST = b"127.0.0.1:8000"


def session_of(user: User) -> str:
    """The key of a new session in which `user` is signed in."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


class Browser:
    """One socket. Used inside an event loop; closes itself."""

    def __init__(
        self,
        session: str,
        tenant_id: object,
        after: object = None,
        origin: bytes = b"http://" + HOST,
        around: Callable[[Any], Any] = AuthMiddlewareStack,
    ) -> None:
        cookie = f"{settings.SESSION_COOKIE_NAME}={session}".encode()
        query = f"tenant={tenant_id}" + ("" if after is None else f"&after={after}")
        self._wire = WebsocketCommunicator(
            around(URLRouter(websocket_urlpatterns)),
            f"/ws/feed/?{query}",
            headers=[(b"host", HOST), (b"origin", origin), (b"cookie", cookie)],
        )
        self.accepted = False

    async def __aenter__(self) -> Self:
        self.accepted, _ = await self._wire.connect(timeout=10)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._wire.disconnect(timeout=10)

    async def greeted(self) -> Self:
        """Wait until the socket has joined the feed; whoever names no number follows from here on, not from before."""
        await self.until(lambda frame: frame["type"] == "hello")
        return self

    async def say(self, message: dict[str, Any]) -> None:
        """Send one message."""
        await self._wire.send_to(text_data=json.dumps(message))

    async def next(self, within: float = 10) -> dict[str, Any]:
        """The next frame; {"type": "closed", "code": …} when the server closed."""
        event = await self._wire.receive_output(timeout=within)
        if event["type"] == "websocket.close":
            return {"type": "closed", "code": event["code"]}
        frame: dict[str, Any] = json.loads(event["text"])
        return frame

    async def until(self, wanted: Callable[[dict[str, Any]], bool], within: float = 10) -> dict[str, Any]:
        """The next frame that is wanted; others are read over."""
        while not wanted(frame := await self.next(within)):
            pass
        return frame
