"""Case 53: the event loop of the web process stands still for ten seconds, and with it every page and socket."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.faults.arena import LEASE, Arena
from tests.faults.invariants import effects
from tests.fixtures.polling import eventually

pytestmark = pytest.mark.slow


def live(arena: Arena) -> ClientConnection:
    """A socket of rita's that follows the tenant's feed."""
    ((tenant,),) = arena.ask("SELECT id FROM tenancy_tenant WHERE slug = 'acme'")
    cookie = f"sessionid={arena.person('rita').client.cookies['sessionid']}"
    place = f"{arena.site.url.replace('http', 'ws', 1)}/ws/feed/?tenant={tenant}"
    return connect(place, origin=Origin(arena.site.url), additional_headers={"Cookie": cookie})


def latest(arena: Arena) -> int:
    """The number of the tenant's newest entry."""
    return int(arena.ask("SELECT feed_number FROM traces_tenanthead JOIN tenancy_tenant t ON t.id = tenant_id")[0][0])


def numbers(browser: ClientConnection, until: int) -> list[int]:
    """The numbers of the entries that arrive, until this one did."""
    found: list[int] = []
    while not found or found[-1] < until:
        frame = json.loads(browser.recv(timeout=30))
        if frame["type"] == "entry":
            found.append(frame["number"])
    return found


def test_53_a_loop_that_stands_still_holds_no_run_up_and_its_sockets_catch_up(arena: Arena) -> None:
    run = arena.submit(linger=LEASE + 2)
    arena.waits(run)
    with live(arena) as one, live(arena) as two, ThreadPoolExecutor(1) as reviewer:
        begun = [json.loads(browser.recv(timeout=30))["number"] for browser in (one, two)]
        arena.arm("feed.publish", "sleep=10")
        decided = reviewer.submit(arena.decide_all)
        eventually(lambda: arena.taken("feed.publish"), what="the loop stands still")
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"{arena.site.url}/healthz", timeout=2)
        # The worker is told by the broker and beats its own heart; longer than a lease meanwhile.
        eventually(lambda: arena.state(run) == "succeeded", within=60, what="the run's end")
        assert arena.ask("SELECT fence, crashes FROM agents_run WHERE id = %s", run) == [(2, 0)]
        assert decided.result() == 1
        last = latest(arena)
        for browser, first in zip((one, two), begun, strict=True):
            assert numbers(browser, last) == list(range(first + 1, last + 1))
    assert effects(arena.journal)["effect", arena.keys[run]] == 1
    assert arena.ends(arena.submit()) == "succeeded"
