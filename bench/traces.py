"""Traces at a million events on PostgreSQL: how long pages and searches take, and what writing an event costs.

Run with `python -m bench.traces [--events N] [--database NAME] [--only writes lists pages searches]` (or
`make bench-traces`). It makes a database of its own on the server that DATABASE_URL names (127.0.0.1:5432 by default),
fills it, measures, and drops it; one that was given a name is kept, and the next run measures it without filling.
Goals: list and page of a trace p95 in at most 150 ms, search p95 in at most 500 ms, a write of an event with 1 KB in at
most 250 µs of CPU, redaction included. With the `bench` extra RouteKitAI's trace is written beside it, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.sql import SQL, Identifier

from routekit_site.demo_keys import make_keys

if TYPE_CHECKING:
    from django.test import Client

SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
PER_TRACE = 15
PARTS = ("writes", "lists", "pages", "searches")
FILTERS = (
    "?state=failed",
    "?agent_name=Agent+7",
    "?submitter=1",
    "?tool=http_request",
    "?decision=reject",
    "?reviewer=rita",
    "?duration=hour",
    "?duration=longer",
    "?cost=more",
    "?cost=cent",
)
WRITES = 3000
PER_TRANSACTION = 10
VOCABULARY = 5000
PHRASES = 2000
PHRASE_WORDS = 40

# One run in the order in which it happens, over and over; what a place in it holds goes by the number of the event.
KINDS = (
    "run.submitted",
    "run.started",
    "model.request",
    "model.response",
    "policy.verdict",
    "gate.opened",
    "run.waiting",
    "gate.decided",
    "run.resumed",
    "permit.issued",
    "tool.started",
    "tool.finished",
    "model.request",
    "model.response",
    "run.finished",
)

FILL_TRACES = """
INSERT INTO traces_trace (run_id, tenant_id, agent_name, submitter_id, state, prompt, tools, reviewers, decisions,
    started_at, finished_at, input_tokens, output_tokens, cost_microdollars, last_number)
SELECT md5('run' || n)::uuid, %(tenant)s, 'Agent ' || n %% 12, %(person)s,
    (ARRAY['succeeded', 'succeeded', 'succeeded', 'failed', 'cancelled', 'waiting'])[1 + n %% 6],
    'Job ' || n, jsonb_build_array((ARRAY['read_file', 'write_file', 'http_request', 'calculator'])[1 + n %% 4]),
    '["rita"]', CASE WHEN n %% 9 = 0 THEN '["reject"]'::jsonb ELSE '["approve"]' END,
    now() - n * interval '20 seconds', now() - n * interval '20 seconds' + n %% 600 * interval '1 second',
    n %% 4000, n %% 900, n %% 300000, %(each)s
FROM generate_series(1, %(traces)s) n
"""
FILL_EVENTS = """
INSERT INTO traces_traceevent (trace_id, number, kind, at, call_id, gate_id, actor, payload, redactor_version)
SELECT md5('run' || n)::uuid, e, (%(kinds)s::text[])[e], now() - n * interval '20 seconds' + e * interval '1 second',
    CASE WHEN e BETWEEN 5 AND 12 THEN 'call' ELSE '' END, CASE WHEN e BETWEEN 5 AND 9 THEN md5('gate' || n)::uuid END,
    CASE WHEN e = 8 THEN 'rita' ELSE '' END,
    jsonb_build_object('tool', 'write_file', 'state', 'succeeded', 'verdict', 'needs_approval',
        'unique', md5(n || '-' || e), 'text',
        (SELECT text FROM bench_phrase p WHERE p.id = 1 + (n * 31 + e * 7) %% %(phrases)s)),
    1000000
FROM generate_series(%(from)s::int, %(to)s::int) n, generate_series(1, %(each)s::int) e
"""


EVENTS = "traces_traceevent"
CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('u', 'f')
"""
INDEXES = """
SELECT relname, pg_get_indexdef(oid) FROM pg_class JOIN pg_index ON oid = indexrelid
WHERE indrelid = %s::regclass AND NOT indisprimary
"""


@contextlib.contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """The address of a database on the server: the one of that name, made if need be and kept, or one for this run."""
    made = name or f"routekit_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as admin:
        known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [made]).fetchone()
        if not known:
            admin.execute(SQL("CREATE DATABASE {}").format(Identifier(made)))
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{made}"))
    finally:
        if not name:
            with psycopg.connect(server, autocommit=True) as admin:
                admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(made)))


def start_django(url: str, folder: str) -> None:
    """The site's own settings on that database."""
    os.environ.update(make_keys())
    os.environ.update(
        DATABASE_URL=url,
        ROUTEKIT_DATA_DIR=folder,
        ROUTEKIT_HTTPS="false",
        ROUTEKIT_ALLOWED_HOSTS="testserver",
        DJANGO_SETTINGS_MODULE="routekit_site.settings",
    )
    importlib.import_module("django").setup()
    call_command = importlib.import_module("django.core.management").call_command
    call_command("migrate", verbosity=0)


def phrases() -> list[tuple[int, str]]:
    """Texts of made-up words; some words are common and most are rare, as in every language."""
    chance = random.Random(7)  # noqa: S311 - texts, not keys
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(VOCABULARY)]
    weights = [1 / (rank + 1) for rank in range(VOCABULARY)]
    return [(n, " ".join(chance.choices(words, weights, k=PHRASE_WORDS))) for n in range(1, PHRASES + 1)]


def filled(url: str) -> int:
    """How many events the database holds, as PostgreSQL last counted them."""
    with psycopg.connect(url) as connection:
        return int(connection.execute("SELECT reltuples FROM pg_class WHERE relname = %s", [EVENTS]).fetchone()[0])  # type: ignore[index]


def indexes(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """What makes an event dear to insert, each as the statement that takes it away and the one that brings it back."""
    constraints = connection.execute(CONSTRAINTS, [EVENTS]).fetchall()
    taken = {name for name, _ in constraints}
    found = [
        (f'ALTER TABLE {EVENTS} DROP CONSTRAINT "{name}"', f'ALTER TABLE {EVENTS} ADD CONSTRAINT "{name}" {text}')
        for name, text in constraints
    ]
    others = connection.execute(INDEXES, [EVENTS]).fetchall()
    return found + [(f'DROP INDEX "{name}"', text) for name, text in others if name not in taken]


def at_once(url: str, work: Sequence[tuple[str, Any]]) -> None:
    """Run statements side by side, two at a time."""

    def run(statement: tuple[str, Any]) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            connection.execute("SET maintenance_work_mem = '1GB'")
            connection.execute(*statement)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, work))


def fill(url: str, events: int, tenant: int, person: int) -> None:
    """Fill the tables in bulk; indexes and foreign keys come back at the end."""
    traces = events // PER_TRACE
    facts = {
        "tenant": tenant,
        "person": person,
        "traces": traces,
        "each": PER_TRACE,
        "kinds": list(KINDS),
        "phrases": PHRASES,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        again = indexes(connection)
        for drop, _ in again:
            connection.execute(drop)
        connection.execute("CREATE TABLE bench_phrase (id int PRIMARY KEY, text text)")
        with connection.cursor() as cursor, cursor.copy("COPY bench_phrase FROM STDIN") as copy:
            for row in phrases():
                copy.write_row(row)
        connection.execute(FILL_TRACES, facts)
        middle = traces // 2
        at_once(url, [(FILL_EVENTS, {**facts, "from": a, "to": b}) for a, b in ((1, middle), (middle + 1, traces))])
        at_once(url, [(bring, None) for _, bring in again])
        connection.execute("DROP TABLE bench_phrase")
        connection.execute("VACUUM ANALYZE")


class Took(NamedTuple):
    """Milliseconds of each go: by the clock, of this process's CPU, and in the database."""

    clock: list[float]
    cpu: list[float]
    database: list[float]


def milliseconds(action: Callable[[], object], times: int) -> Took:
    """How long each of so many goes takes, after one to warm up."""
    connection = importlib.import_module("django.db").connection
    action()
    took = Took([], [], [])
    waited = [0.0]

    def timed(execute: Callable[..., Any], *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            waited[0] += time.perf_counter() - started

    for _ in range(times):
        waited[0] = 0.0
        started, cpu = time.perf_counter(), time.process_time()
        with connection.execute_wrapper(timed):
            action()
        took.cpu.append((time.process_time() - cpu) * 1000)
        took.clock.append((time.perf_counter() - started) * 1000)
        took.database.append(waited[0] * 1000)
    return took


def p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[18]


def line(name: str, took: Took, goal: float) -> None:
    verdict = "" if p95(took.clock) <= goal else "  MISSED"
    clock = f"p50 {statistics.median(took.clock):6.0f} ms  p95 {p95(took.clock):6.0f} ms"
    parts = f"(p50 CPU {statistics.median(took.cpu):.0f}, database {statistics.median(took.database):.0f})"
    print(f"{name:32} {clock} {parts}  goal {goal:.0f}{verdict}", flush=True)


class Filled:
    """The filled traces, read through the admin's pages."""

    def __init__(self, client: Client, traces: int) -> None:
        self.client = client
        self.traces = traces
        self.chance = random.Random(3)  # noqa: S311 - picks pages, not keys

    def get(self, query: str) -> None:
        answer = self.client.get(f"/admin/traces/trace/{query}")
        assert answer.status_code == 200, answer.status_code

    def lists(self) -> None:
        trace = importlib.import_module("traces.models").Trace

        def older() -> None:
            """Continue the list where some trace stands, as the link under a page does."""
            key = run_of(self.chance.randint(1, self.traces))
            at = trace.objects.values_list("started_at", flat=True).get(pk=key).isoformat()
            self.get(f"?{urlencode({'before': f'{at}~{key}'})}")

        line("list, newest", milliseconds(partial(self.get, ""), 60), 150)
        line("list, somewhere in the middle", milliseconds(older, 60), 150)
        for query in FILTERS:
            line(f"list, {query}", milliseconds(partial(self.get, query), 30), 150)

    def pages(self) -> None:
        def page() -> None:
            self.get(f"{run_of(self.chance.randint(1, self.traces))}/change/")

        line("page of a trace", milliseconds(page, 60), 150)

    def searches(self) -> None:
        seen = Counter(word for _, text in phrases() for word in text.split())
        vocabulary, common = sorted(seen), seen.most_common(1)[0][0]
        searches: dict[str, Callable[[], str]] = {
            "one event's own word": lambda: unique_of(self.chance.randint(1, self.traces)),
            "a rare word": lambda: self.chance.choice(vocabulary),
            "two words": lambda: "+".join(self.chance.sample(vocabulary, 2)),
            "the most common word": lambda: common,
            "a word that is nowhere": lambda: uuid.uuid4().hex,
            "a kind of event": lambda: self.chance.choice(("gate.decided", "model.error")),
        }
        for name, term in searches.items():
            line(f"search, {name}", milliseconds(lambda: self.get(f"?q={term()}"), 30), 500)  # noqa: B023 - run at once


def run_of(number: int) -> uuid.UUID:
    """The id of a filled run."""
    md5 = importlib.import_module("hashlib").md5
    return uuid.UUID(md5(f"run{number}".encode(), usedforsecurity=False).hexdigest())


def unique_of(number: int) -> str:
    md5 = importlib.import_module("hashlib").md5
    return str(md5(f"{number}-12".encode(), usedforsecurity=False).hexdigest())


def payload() -> dict[str, Any]:
    """1 KB of JSON as a tool's result may be: prose, a value to redact, numbers, a nested list."""
    text = "The agent read the minutes of the meeting and wrote a summary for the team. " * 9
    return {
        "tool": "read_file",
        "state": "succeeded",
        "attempt": 1,
        "tier": "namespaces",
        "result": {"text": text, "contact": "erika.mustermann@example.org", "lines": list(range(30))},
        "usage": {"seconds": 0.0123, "memory": 1234567, "bytes": 1024},
    }


def people() -> tuple[Any, Any]:
    """The tenant and its admin, who reads the pages."""
    roles = importlib.import_module("routekit_site.tenancy.roles")
    models = importlib.import_module("routekit_site.tenancy.models")
    tenant, _ = models.Tenant.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    person, _ = models.User.objects.get_or_create(username="adam", defaults={"email": "adam@example.org"})
    models.Membership.objects.get_or_create(user=person, tenant=tenant, defaults={"role": roles.Role.ADMIN})
    return tenant, person


def measure_writes(tenant: int, person: int) -> None:
    ours, theirs = cpu_of_ours(tenant, person), cpu_of_routekitai()
    print(f"write of an event with 1 KB: {ours:.0f} µs CPU   goal 250{'' if ours <= 250 else '  MISSED'}", flush=True)
    if theirs is not None:
        print(f"RouteKitAI, same payload:    {theirs:.0f} µs CPU   ({theirs / ours:.2f} of ours)", flush=True)


def cpu_of_ours(tenant: int, person: int) -> float:
    """Microseconds of this process's CPU time for one recorded event."""
    transaction = importlib.import_module("django.db").transaction
    timezone = importlib.import_module("django.utils.timezone")
    recorder = importlib.import_module("traces.recorder")
    gathered = importlib.import_module("traces.gathering").gathered
    now, facts = timezone.now(), payload()
    runs = [uuid.uuid4() for _ in range(WRITES // PER_TRANSACTION)]
    with transaction.atomic():
        for run in runs:
            recorder.open_trace(
                tenant_id=tenant, run_id=run, agent_name="Bench", submitter_id=person, prompt="x", now=now
            )

    def write(count: int) -> None:
        for run in runs[: count // PER_TRANSACTION]:
            with transaction.atomic(), gathered():
                for _ in range(PER_TRANSACTION):
                    recorder.record(run_id=run, kind="tool.finished", payload=facts, now=now, call_id="call")

    return best_cpu(write, WRITES)


def cpu_of_routekitai() -> float | None:
    """The same for RouteKitAI: its redaction hook, its trace, its JSONL export at the end. None where it is missing."""
    try:
        hook = importlib.import_module("routekitai.core.hooks").PIIRedactionHook()
    except ImportError:
        return None
    trace_of = importlib.import_module("routekitai.observability.trace").Trace
    exporter = importlib.import_module("routekitai.observability.exporters.jsonl").JSONLExporter
    facts = payload()

    def write(count: int) -> None:
        trace = trace_of(trace_id="bench")
        for _ in range(count):
            trace.add_event("tool_result", hook.redact_dict(facts))
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(exporter(folder).export(trace))

    return best_cpu(write, WRITES)


def best_cpu(write: Callable[[int], None], count: int) -> float:
    write(count // 10)
    rates = []
    for _ in range(3):
        started = time.process_time()
        write(count)
        rates.append((time.process_time() - started) / count * 1e6)
    return min(rates)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--database", metavar="NAME", default="", help="fill it unless it is filled, and keep it")
    options.add_argument("--only", choices=list(PARTS), nargs="*", default=list(PARTS), help="measure this much")
    asked = options.parse_args()
    server = os.environ.get("DATABASE_URL", SERVER)
    with tempfile.TemporaryDirectory() as folder, database(server, asked.database) as url:
        start_django(url, folder)
        tenant, person = people()
        if filled(url) < asked.events // 2:
            started = time.perf_counter()
            fill(url, asked.events, tenant.pk, person.pk)
            print(f"filled {asked.events:,} events in {time.perf_counter() - started:.0f} s", flush=True)
        print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}", flush=True)
        client = importlib.import_module("django.test").Client()
        client.force_login(person)
        traces = Filled(client, asked.events // PER_TRACE)
        if "writes" in asked.only:
            measure_writes(tenant.pk, person.pk)
        if "lists" in asked.only:
            traces.lists()
        if "pages" in asked.only:
            traces.pages()
        if "searches" in asked.only:
            traces.searches()


if __name__ == "__main__":
    main()
