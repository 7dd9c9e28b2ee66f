"""Feed latency: from the commit of one entry to each of n open sockets that has read it, through the web process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from bench.durability.figures import PROJECT, percentile
from tests.fixtures.processes import Site

EVENTS = 12
OPENING_AT_ONCE = 25


async def _open(url: str, cookie: str, origin: str, few: asyncio.Semaphore) -> ClientConnection:
    async with few:
        headers = {"Cookie": cookie}
        socket = await connect(
            url, additional_headers=headers, origin=Origin(origin), compression=None, open_timeout=60
        )
        json.loads(await socket.recv())
        return socket


async def _last_entry(socket: ClientConnection, number: int) -> float:
    """When this socket has read entry `number`."""
    while True:
        frame: dict[str, Any] = json.loads(await socket.recv())
        if frame.get("number", 0) >= number and frame["type"] == "entry":
            return time.time()


async def _measure(site: Site, cookie: str, tenant: int, count: int) -> list[float]:
    url = f"{site.url.replace('http', 'ws', 1)}/ws/feed/?tenant={tenant}"
    few = asyncio.Semaphore(OPENING_AT_ONCE)
    sockets = await asyncio.gather(*[_open(url, cookie, site.url, few) for _ in range(count)])
    writer = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.durability.announcer",
        str(tenant),
        cwd=PROJECT,
        env={**site.environment, "DJANGO_SETTINGS_MODULE": "routekit_site.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    await writer.stdout.readline()
    late: list[float] = []
    for _ in range(EVENTS):
        writer.stdin.write(b"go\n")
        committed = json.loads(await writer.stdout.readline())
        read = await asyncio.gather(*[_last_entry(socket, committed["number"]) for socket in sockets])
        late += [(moment - committed["at"]) * 1000 for moment in read]
    writer.stdin.close()
    await writer.wait()
    await asyncio.gather(*[socket.close() for socket in sockets])
    return late


def latency(site: Site, tenant: int, count: int) -> dict[str, Any]:
    """p50 and p99 over all sockets and twelve entries, milliseconds."""
    client = site.sign_in("rita")
    late = asyncio.run(_measure(site, f"sessionid={client.cookies['sessionid']}", tenant, count))
    return {"sockets": count, "p50_ms": percentile(late, 50), "p99_ms": percentile(late, 99)}
