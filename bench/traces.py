"""Traces at a million events on PostgreSQL: how long pages and searches take, and what writing an event costs.

Run with `python -m bench.traces [--events N] [--keep]` (or `make bench-traces`). It makes a database of its own on the
server that DATABASE_URL names (127.0.0.1:5432 by default), fills it, measures, and drops it. Goals: list and page of a
trace p95 in at most 150 ms, search p95 in at most 500 ms, a write of an event with 1 KB in at most 250 µs of CPU,
redaction included. With the `bench` extra RouteKitAI's trace is written beside it, in the same run.
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
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg

from routekit_site.demo_keys import make_keys

if TYPE_CHECKING:
    from django.test import Client

SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
PER_TRACE = 15
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
FROM generate_series(1, %(traces)s) n, generate_series(1, %(each)s) e
"""


@contextlib.contextmanager
def database(server: str, *, reuse: str, keep: bool) -> Iterator[str]:
    """A fresh database on the server, or one that an earlier run kept; its address."""
    name = reuse or f"routekit_bench_{uuid.uuid4().hex[:8]}"
    if not reuse:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        if keep:
            print(f"kept: {name}")
        else:
            with psycopg.connect(server, autocommit=True) as admin:
                admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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


def fill(url: str, events: int, tenant: int, person: int) -> None:
    """Fill the tables in bulk, without the index of words, which is built once at the end."""
    facts = {
        "tenant": tenant,
        "person": person,
        "traces": events // PER_TRACE,
        "each": PER_TRACE,
        "kinds": list(KINDS),
        "phrases": PHRASES,
    }
    with psycopg.connect(url, autocommit=True) as connection:
        words = connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'trace_event_words'").fetchone()
        assert words is not None, "the index of words is missing"
        connection.execute("DROP INDEX trace_event_words")
        connection.execute("CREATE TABLE bench_phrase (id int PRIMARY KEY, text text)")
        with connection.cursor() as cursor, cursor.copy("COPY bench_phrase FROM STDIN") as copy:
            for row in phrases():
                copy.write_row(row)
        connection.execute(FILL_TRACES, facts)
        connection.execute(FILL_EVENTS, facts)
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute(words[0])
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


def measure_pages(client: Client, traces: int) -> None:
    chance = random.Random(3)  # noqa: S311 - picks pages, not keys

    def get(query: str) -> None:
        answer = client.get(f"/admin/traces/trace/{query}")
        assert answer.status_code == 200, answer.status_code

    def older() -> str:
        day = f"{chance.randint(1, 28):02}"
        return f"?before=2026-11-{day}T10:00:00%2B00:00~{uuid.UUID(int=chance.getrandbits(128))}"

    def search(term: Callable[[], str]) -> None:
        get(f"?q={term()}")

    line("list, newest", milliseconds(lambda: get(""), 60), 150)
    line("list, somewhere in the middle", milliseconds(lambda: get(older()), 60), 150)
    for query in ("?state=failed", "?tool=http_request", "?decision=reject", "?agent_name=Agent+7", "?duration=longer"):
        line(f"list, {query}", milliseconds(partial(get, query), 30), 150)
    keys = [run_of(chance.randint(1, traces)) for _ in range(60)]
    line("page of a trace", milliseconds(lambda: get(f"{chance.choice(keys)}/change/"), 60), 150)
    seen = Counter(word for _, text in phrases() for word in text.split())
    vocabulary, common = sorted(seen), seen.most_common(1)[0][0]
    searches = {
        "one event's own word": lambda: unique_of(chance.randint(1, traces)),
        "a rare word": lambda: chance.choice(vocabulary),
        "two words": lambda: "+".join(chance.sample(vocabulary, 2)),
        "the most common word": lambda: common,
        "a word that is nowhere": lambda: uuid.uuid4().hex,
        "a kind of event": lambda: chance.choice(("gate.decided", "model.error")),
    }
    for name, term in searches.items():
        line(f"search, {name}", milliseconds(partial(search, term), 30), 500)


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
    options.add_argument("--keep", action="store_true", help="leave the database in place")
    options.add_argument("--reuse", metavar="NAME", default="", help="measure a database that --keep left, unfilled")
    options.add_argument("--writes-only", action="store_true", help="skip the pages")
    asked = options.parse_args()
    server = os.environ.get("DATABASE_URL", SERVER)
    with tempfile.TemporaryDirectory() as folder, database(server, reuse=asked.reuse, keep=asked.keep) as url:
        start_django(url, folder)
        roles = importlib.import_module("routekit_site.tenancy.roles")
        models = importlib.import_module("routekit_site.tenancy.models")
        tenant, _ = models.Tenant.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
        person, _ = models.User.objects.get_or_create(username="adam", defaults={"email": "adam@example.org"})
        models.Membership.objects.get_or_create(user=person, tenant=tenant, defaults={"role": roles.Role.ADMIN})
        print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
        ours, theirs = cpu_of_ours(tenant.pk, person.pk), cpu_of_routekitai()
        print(f"write of an event with 1 KB: {ours:.0f} µs CPU   goal 250{'' if ours <= 250 else '  MISSED'}")
        if theirs is not None:
            print(f"RouteKitAI, same payload:    {theirs:.0f} µs CPU   ({theirs / ours:.2f} of ours)")
        if asked.writes_only:
            return
        if not asked.reuse:
            started = time.perf_counter()
            fill(url, asked.events, tenant.pk, person.pk)
            print(f"filled {asked.events:,} events in {time.perf_counter() - started:.0f} s")
        client = importlib.import_module("django.test").Client()
        client.force_login(person)
        measure_pages(client, asked.events // PER_TRACE)


if __name__ == "__main__":
    main()
