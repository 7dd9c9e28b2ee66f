"""Two web and four worker processes behind one address: any of them may serve any step, and each call runs once."""

from __future__ import annotations

import itertools
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.fixtures.compose import command_of
from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site
from tests.fixtures.services import free_port

JOBS = 12
WORKERS = 4


@contextmanager
def balancer(address: int, ports: tuple[int, ...]) -> Iterator[Counter[int]]:
    """Hand each connection to the next port in turn, past one that nobody listens on; counts what each one got."""
    served: Counter[int] = Counter()
    turns = itertools.cycle(ports)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            for _ in ports:
                port = next(turns)
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as behind:
                    served[port] += 1
                    behind.settimeout(None)
                    back = threading.Thread(target=_copy, args=(behind, self.request), daemon=True)
                    back.start()
                    _copy(self.request, behind)
                    back.join()
                    return

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", address), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def query(site: Site, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(site.environment["DATABASE_URL"]) as database:
        return database.execute(sql, parameters).fetchall()


def start_web(site: Site, name: str, port: int) -> None:
    environment = {**site.environment, "WEB_PORT": str(port), "ROUTEKIT_DATABASE_POOL": "4"}
    site.start(name, command_of("web", environment), environment)
    eventually(lambda: answers(port), within=60, what=name)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).is_success
    except httpx.TransportError:
        return False


def test_every_step_may_be_served_by_another_process(own_stack: Callable[..., Site]) -> None:
    site = own_stack("web", "worker", "beat", WORKER_CONCURRENCY="1")
    no_hold(site)
    first, second, address = int(site.environment["WEB_PORT"]), free_port(), free_port()
    start_web(site, "web-2", second)
    worker = {name: value for name, value in site.environment.items() if name != "ROUTEKIT_SIGNING_KEY"}
    for number in range(2, WORKERS + 1):
        other = site.start(f"worker-{number}", [*command_of("worker", worker), "-n", f"worker{number}@%h"], worker)
        eventually(partial(has_child, other.popen.pid), within=60, what=other.name)

    with balancer(address, (first, second)) as served:
        site.url = f"http://127.0.0.1:{address}"
        alice, rita = Person.at(site, "alice"), Person.at(site, "rita")
        # A connection a request, so that the two take turns.
        for person in (alice, rita):
            person.client.headers["Connection"] = "close"
        runs = [alice.submit(f'write_file {{"path": "out-{n}.txt", "text": "{n}"}}') for n in range(JOBS)]
        eventually(lambda: in_state(site, runs, "waiting") == JOBS, within=120, what="waiting runs")
        gates = [row for row in rita.waiting() if row["run"] in runs]
        for gate in gates[: JOBS // 2]:
            rita.approve(gate)
        # One of each goes away; the others do what is left.
        site.processes.pop("web-2").kill()
        assert site.processes.pop("worker-2").stop(within=60) == 0
        for gate in gates[JOBS // 2 :]:
            rita.approve(gate)
        eventually(lambda: in_state(site, runs, "succeeded") == JOBS, within=120, what="finished runs")
        assert min(served[first], served[second]) > JOBS

    calls = query(site, "SELECT state, attempts FROM agents_toolcall WHERE run_id = ANY(%s::uuid[])", runs)
    assert calls == [("succeeded", 1)] * JOBS
    started = (
        "SELECT leased, count(*) FROM (SELECT trace_id AS leased FROM traces_traceevent WHERE kind = 'tool.started'"
    )
    counted = query(site, f"{started} AND trace_id = ANY(%s::uuid[])) AS each GROUP BY leased", runs)
    assert [count for _, count in counted] == [1] * JOBS


def has_child(pid: int) -> bool:
    """Whether a worker has forked the process that works; from then on it stops when it is told to."""
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").strip())


def in_state(site: Site, runs: list[str], state: str) -> int:
    """How many of the runs are in a state."""
    sql = "SELECT count(*) FROM agents_run WHERE id = ANY(%s::uuid[]) AND state = %s"
    return int(query(site, sql, runs, state)[0][0])
