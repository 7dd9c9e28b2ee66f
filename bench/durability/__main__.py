"""`make bench`: the whole system as the compose file's processes, beside its peers, in one run on one machine.

`python -m bench.durability [--parts …] [--runs N] [--rounds N]`. Ours and the peers take turns in short rounds, so that
a machine that grows busy meanwhile is busy for all of them: what counts are the ratios. PostgreSQL and Redis are those
of `ROUTEKIT_TEST_DATABASE_URL` and `ROUTEKIT_TEST_REDIS_URL`, or on their standard ports, or started for the run; a
database is made and dropped again. Without the `bench` extra only our own figures are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from bench.durability import sockets
from bench.durability.figures import line, measured, percentile
from bench.durability.processors import family, processor_time
from tests.fixtures.migrated import migrated_database
from tests.fixtures.people import Person
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, prepare_embedded, prepare_stack, start_compose, stopping
from tests.fixtures.services import Services, free_services, postgres_database, redis_database, with_path

DRIVER, PEERS = "bench.durability.driver", "bench.durability.peers"
LEASE = "5"


class Bench:
    """The servers that all parts share, and how much of everything is measured."""

    def __init__(self, services: Services, directory: Path, options: argparse.Namespace) -> None:
        self.services = services
        self.directory = directory
        self.options = options
        self.sites = 0

    @contextlib.contextmanager
    def site(self, *names: str, **extra: str) -> Iterator[Site]:
        """A fresh database with the demo's people, and processes of the compose file."""
        self.sites += 1
        directory = self.directory / f"site-{self.sites}"
        directory.mkdir()
        with (
            migrated_database(self.services.database_url) as database_url,
            redis_database(with_path(self.services.redis_url, "0")) as redis_url,
        ):
            site = prepare_stack(directory, Services(database_url, redis_url), **extra)
            with stopping(site):
                start_compose(site, *names)
                if "web" in names:
                    site.wait_until_ready(within=180)
                yield site

    def driver(self, site: Site, what: str, count: int) -> dict[str, Any]:
        """One measurement by a process of the web tier."""
        workers = " ".join(map(str, family(site.processes["worker"].popen.pid))) if "worker" in site.processes else ""
        environment = {**site.environment, "BENCH_WORKERS": workers, "DJANGO_SETTINGS_MODULE": "routekit_site.settings"}
        return measured(DRIVER, what, str(count), environment=environment)

    def peer(self, name: str, place: str, runs: int, threads: int) -> dict[str, Any]:
        """One measurement of a peer, in a process of its own that knows nothing of the site."""
        own = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return measured(PEERS, name, place, str(runs), str(threads), environment=own)


def missing_peers() -> list[str]:
    """Peers that are not installed."""
    modules = {"LangGraph": "langgraph", "its PostgreSQL checkpointer": "langgraph.checkpoint.postgres", "DBOS": "dbos"}
    return [name for name, module in modules.items() if not _installed(module)]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def round_trips(bench: Bench) -> None:
    """Round trips a second on PostgreSQL, by turns; each peer with one thread and with four, the better one counts."""
    ours: list[dict[str, Any]] = []
    peers: dict[str, list[dict[str, Any]]] = {"langgraph-postgres": [], "dbos": []}
    wanted = [] if missing_peers() else list(peers)
    runs = bench.options.runs
    with bench.site("web", "worker", "beat") as site:
        bench.driver(site, "round-trips", 20)
        for _ in range(bench.options.rounds):
            before = processor_time(site)
            ours.append(bench.driver(site, "round-trips", runs))
            line("round trips, ours", ours[-1])
            spent = {who: (used - before[who]) / runs * 1000 for who, used in processor_time(site).items()}
            line("ms of a processor in each, driver beside", spent)
            for name in wanted:
                for threads in (1, 4):
                    with postgres_database(bench.services.database_url) as place:
                        peers[name].append(bench.peer(name, place, runs, threads))
                    line(f"round trips, {name}, {threads} thread(s)", peers[name][-1])
        line("decision to tool, one run at a time", bench.driver(site, "starts", max(20, runs // 3)))
    own = statistics.median(figures["per_second"] for figures in ours)
    for name in wanted:
        line(f"ratio to {name}", {"ours/theirs": own / max(figures["per_second"] for figures in peers[name])})
    with redis_database(with_path(bench.services.redis_url, "0")) as place:
        line("bare Celery, no-op tasks", bench.peer("celery", place, runs * 10, 2))


def suspended(bench: Bench) -> None:
    """Database bytes and memory of a run that waits, and submissions a second; each time twice as many runs.

    The first is not told: it finds the worker without its processes and sandboxes. What runs hold costs the same in
    each batch, what a process grows by until it is warm costs less in each.
    """
    with bench.site("worker") as site:
        bench.driver(site, "suspended", bench.options.runs)
        for doubled in range(1, 5):
            line("suspended runs", bench.driver(site, "suspended", bench.options.runs * 2**doubled))


def submit(bench: Bench) -> None:
    """Jobs a second through the web process's own form, by four people's browsers at once."""
    with bench.site("web", "worker", "beat", ROUTEKIT_SUBMIT_RATE="100000/minute") as site:

        def alone(count: int) -> list[float]:
            alice, took = Person.at(site, "alice"), []
            for _ in range(count):
                started = time.perf_counter()
                alice.submit('calculator {"expression": "6 * 7"}')
                took.append((time.perf_counter() - started) * 1000)
            return took

        each = max(5, bench.options.runs // 4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(alone, [2] * 4))
            started = time.perf_counter()
            times = [one for found in pool.map(alone, [each] * 4) for one in found]
        rate = len(times) / (time.perf_counter() - started)
        told = {"jobs_per_second": rate, "page_form_and_answer_p50_ms": percentile(times, 50)}
        line("submit through HTTP", {**told, "p99_ms": percentile(times, 99), "load": round(os.getloadavg()[0], 1)})


def pending(bench: Bench) -> None:
    """The queue's page and a decision with 100,000 gates that wait."""
    with bench.site("worker") as site:
        line("pending gates", bench.driver(site, "pending", 100_000))


def feed(bench: Bench) -> None:
    """One entry to 1, 100 and 1,000 sockets of one web process; and how these come back when all were cut off."""
    with bench.site("web", "worker", "beat", ROUTEKIT_SOCKETS_PER_PERSON="2000") as site:
        with psycopg.connect(site.environment["DATABASE_URL"]) as database:
            row = database.execute("SELECT id FROM tenancy_tenant WHERE slug = 'acme'").fetchone()
        assert row is not None
        for count in (1, 100, 1000):
            line("feed", {**sockets.latency(site, row[0], count), "load": round(os.getloadavg()[0], 1)})
        line("feed, all come back", {**sockets.reconnection(site, row[0], 1000), "load": round(os.getloadavg()[0], 1)})


def steps(bench: Bench) -> None:
    """What a step costs at the end of a run of 500 steps."""
    with bench.site() as site:
        line("steps", bench.driver(site, "steps", 500))


def embedded(bench: Bench) -> None:
    """One process on SQLite, beside LangGraph on SQLite, by turns."""
    directory = bench.directory / "embedded"
    directory.mkdir()
    site = prepare_embedded(directory)
    ours, theirs = [], []
    for turn in range(bench.options.rounds):
        ours.append(bench.driver(site, "embedded", bench.options.runs))
        line("embedded, ours", ours[-1])
        if not missing_peers():
            place = str(bench.directory / f"langgraph-{turn}.sqlite3")
            theirs.append(bench.peer("langgraph-sqlite", place, bench.options.runs, 1))
            line("embedded, langgraph-sqlite", theirs[-1])
    if theirs:
        medians = [statistics.median(figures["per_second"] for figures in found) for found in (ours, theirs)]
        line("ratio to langgraph-sqlite", {"ours/theirs": medians[0] / medians[1]})


def recovery(bench: Bench) -> None:
    """A worker is killed with all its children while a tool runs: seconds until another, which is up, holds the run."""
    with bench.site("web", "worker", "beat", ROUTEKIT_LEASE_SECONDS=LEASE) as site:
        site.manage("shell", "--no-imports", "-c", _SLEEPER)
        with psycopg.connect(site.environment["DATABASE_URL"], autocommit=True) as database:

            def fence() -> int:
                row = database.execute("SELECT coalesce(max(fence), 0) FROM agents_run").fetchone()
                return int(row[0]) if row else 0

            def running() -> bool:
                found = database.execute("SELECT 1 FROM agents_toolcall WHERE state = 'running'").fetchone()
                return found is not None

            eventually(running, within=60, what="a tool that runs")
            first = site.processes.pop("worker")
            site.processes["first worker"] = replace(first, log=first.log.rename(first.log.with_name("first.log")))
            start_compose(site, "worker")
            second = site.processes["worker"]
            eventually(lambda: "sandbox: tier" in second.log_text(), within=120, what="a second worker")
            killed, before = time.monotonic(), fence()
            first.kill()
            eventually(lambda: fence() > before, within=60, what="a new holder of the run")
            line("recovery after SIGKILL", {"lease_s": float(LEASE), "taken_over_after_s": time.monotonic() - killed})


_SLEEPER = """
import uuid
from django.db import transaction
from agents import runs
from agents.models import Agent
from approvals.models import ToolAllowance
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User
ToolAllowance.objects.filter(tool="run_python").update(mode="allow")
alice = User.objects.get(username="alice")
agent = Agent.objects.get(tenant__slug="acme")
with transaction.atomic():
    runs.submit(tenant_id=agent.tenant_id, user=alice, agent_id=agent.pk, idempotency_key=uuid.uuid4().hex,
                prompt='run_python {"code": "import time; time.sleep(60)"}', now=database_now())
"""

PARTS: dict[str, Callable[[Bench], None]] = {
    "round-trips": round_trips,
    "suspended": suspended,
    "submit": submit,
    "embedded": embedded,
    "steps": steps,
    "pending": pending,
    "feed": feed,
    "recovery": recovery,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.durability")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--runs", type=int, default=100, help="round trips in one turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of ours and of each peer")
    options = parser.parse_args()
    print(f"{platform.system()} {platform.release()}, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    if lacking := missing_peers():
        print(
            f"Not installed: {', '.join(lacking)}. Only our own figures follow; pip install -e '.[bench]' adds theirs."
        )
    with free_services() as services, tempfile.TemporaryDirectory(prefix="routekit-bench-") as directory:
        bench = Bench(services, Path(directory), options)
        for part in options.parts:
            PARTS[part](bench)


if __name__ == "__main__":
    main()
