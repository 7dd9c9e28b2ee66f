"""A house whose notices are sent to a receiver of the tests: a real HTTP server on this machine."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.utils import timezone

from approvals import notices, webhooks
from approvals.models import NoticeEvent, PersonalSettings, WebhookEndpoint
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.models import Tenant, User
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House


@dataclass
class Receiver:
    """What came in, and how it is answered."""

    url: str = ""
    status: int = 204
    location: str = ""
    drip: bool = False
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """An endpoint on a loopback port that the operator has named."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.came.append(({key.lower(): value for key, value in self.headers.items()}, body))
            if found.drip:
                self._drip()
                return
            self.send_response(found.status)
            if found.location:
                self.send_header("Location", found.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _drip(self) -> None:
            """Begin a head that never ends, a byte at a time."""
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(200):
                    self.wfile.write(b"a")
                    time.sleep(0.1)
            except OSError:
                return

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.ROUTEKIT_WEBHOOK_HOSTS = (f"127.0.0.1:{server.server_port}",)
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def now() -> datetime:
    """The present: views go by the database's clock."""
    return timezone.now()


@pytest.fixture
def house(cast: Cast, now: datetime) -> House:
    """The tenant acme, whose news are read from now on."""
    found = House(cast, now, itertools.count(1))
    notices.tell(lambda: now)
    return found


@pytest.fixture
def tell(house: House) -> Callable[..., int]:
    """Run the task's work once, so many seconds later."""

    def told(after: float = 0) -> int:
        return notices.tell(lambda: house.later(after))

    return told


@pytest.fixture
def secret() -> str:
    """A secret of this test."""
    return webhooks.new_secret()


@pytest.fixture
def endpoint(cast: Cast, receiver: Receiver, secret: str) -> WebhookEndpoint:
    """Acme's endpoint, told of everything."""
    return make_endpoint(cast.acme, receiver.url, secret)


def make_endpoint(tenant: Tenant, url: str, secret: str) -> WebhookEndpoint:
    """An endpoint that is told of everything."""
    return WebhookEndpoint.objects.create(
        tenant=tenant, url=url, events=list(NoticeEvent.values), secret_sealed=seal(secret)
    )


def wishes(user: User, **changes: Any) -> PersonalSettings:
    """What a person wants to be told."""
    found, _ = PersonalSettings.objects.update_or_create(user=user, defaults={"email_waiting": True, **changes})
    return found


def minutes(number: float) -> float:
    """Minutes as seconds."""
    return timedelta(minutes=number).total_seconds()
