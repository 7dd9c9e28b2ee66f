"""The site's own half: a process of the web tier that submits and decides; the compose file's workers do the rest.

Run by the bench, under the environment of a prepared site: `python -m bench.durability.driver WHAT NUMBER`.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import uuid
from collections.abc import Callable
from itertools import pairwise
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routekit_site.settings")
if __name__ == "__main__":
    import django

    django.setup()

from django.db import connection, transaction
from django.test import Client

from agents import execution, queue, runs, tasks
from agents.models import Agent, Run, ToolCall
from agents.states import RUN_FINISHED, RunState
from approvals import gates
from approvals.models import ApprovalGate, TenantPolicy, ToolAllowance
from approvals.states import GateState
from bench.durability.figures import percentile, tell
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Tenant, User

PROMPT = 'calculator {"expression": "6 * 7"}'
IN_FLIGHT = 16
PATIENCE = 300.0
TABLES = (
    "agents_run",
    "agents_modelreply",
    "agents_toolcall",
    "approvals_approvalgate",
    "approvals_decision",
    "traces_trace",
    "traces_traceevent",
    "traces_feedentry",
    "traces_ledgerentry",
)


class Office:
    """Alice, who submits, rita, who decides, and their agent, whose calculator asks every time and without a hold."""

    def __init__(self) -> None:
        self.tenant = Tenant.objects.get(slug="acme")
        self.alice = User.objects.get(username="alice")
        self.rita = User.objects.get(username="rita")
        self.agent = Agent.objects.get(tenant=self.tenant)
        TenantPolicy.objects.update_or_create(tenant=self.tenant, defaults={"approval_hold_seconds": 0})
        self.allow("ask")

    def allow(self, mode: str) -> None:
        """How the calculator's calls are judged from now on."""
        ToolAllowance.objects.filter(tenant=self.tenant, tool="calculator").update(mode=mode)

    def submit(self, prompt: str = PROMPT) -> Run:
        """Submit one job, as the page does."""
        with transaction.atomic():
            return runs.submit(
                tenant_id=self.tenant.pk,
                user=self.alice,
                agent_id=self.agent.pk,
                prompt=prompt,
                idempotency_key=uuid.uuid4().hex,
                now=database_now(),
            )

    def decide(self, gate: ApprovalGate) -> float:
        """Approve one call, as the page does; the time of the commit."""
        ballot = gates.Ballot("approve", gate.digest, gate.view_digest, uuid.uuid4().hex)
        with transaction.atomic():
            gates.decide(gate.pk, self.rita, ballot, now=database_now())
        return time.time()

    def decide_all(self) -> dict[uuid.UUID, float]:
        """Approve whatever waits; the commit of each run's decision."""
        waiting = ApprovalGate.objects.filter(state=GateState.PENDING).only("run_id", "digest", "view_digest")
        return {gate.run_id: self.decide(gate) for gate in waiting}


def until(done: Callable[[], bool], what: str) -> None:
    """Look every 5 ms until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(0.005)


def finished() -> int:
    """How many runs have come to an end; one that failed ends the bench."""
    states = dict.fromkeys(RUN_FINISHED, 0) | dict(_counts())
    bad = {state: count for state, count in states.items() if state in RUN_FINISHED and count}
    bad.pop(RunState.SUCCEEDED, None)
    if bad:
        raise SystemExit(f"runs did not succeed: {bad}")
    return states[RunState.SUCCEEDED]


def _counts() -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT state, count(*) FROM agents_run GROUP BY state")
        found: list[tuple[str, int]] = cursor.fetchall()
    return found


def round_trips(office: Office, count: int) -> None:
    """So many runs, at most 16 in flight: round trips a second, and decision commit to tool start under that load."""
    decided: dict[uuid.UUID, float] = {}
    before = finished()
    processor, started = time.process_time(), time.perf_counter()
    submitted = done = 0
    while done < count:
        for _ in range(min(IN_FLIGHT - (submitted - done), count - submitted)):
            office.submit()
            submitted += 1
        decided |= office.decide_all()
        done = finished() - before
        # This process stands for people, who don't look five hundred times a second: its looks cost the cores that
        # are measured.
        time.sleep(0.02)
    took = time.perf_counter() - started
    tell(per_second=count / took, driver_cpu_ms=(time.process_time() - processor) / count * 1000, **_starts(decided))


def _starts(decided: dict[uuid.UUID, float]) -> dict[str, float]:
    """Milliseconds from each decision's commit to the start of its tool."""
    calls = ToolCall.objects.filter(run_id__in=list(decided)).values_list("run_id", "started_at")
    late = [(started.timestamp() - decided[run_id]) * 1000 for run_id, started in calls if started]
    return {"decision_to_tool_p50_ms": percentile(late, 50), "decision_to_tool_p99_ms": percentile(late, 99)}


def starts(office: Office, count: int) -> None:
    """One run at a time: decision commit to tool start, on a site that does nothing else."""
    decided: dict[uuid.UUID, float] = {}
    for _ in range(count):
        before = finished()
        office.submit()
        until(ApprovalGate.objects.filter(state=GateState.PENDING).exists, "a gate")
        decided |= office.decide_all()
        until(lambda before=before: finished() > before, "a finished run")  # type: ignore[misc]
    tell(**_starts(decided))


def suspended(office: Office, count: int) -> None:
    """Submit so many runs and let them wait: submissions a second, database bytes and memory of each."""
    _vacuum()
    before, size, memory = _waiting(), _size(), _workers_memory()
    started = time.perf_counter()
    for _ in range(count):
        office.submit()
    rate = count / (time.perf_counter() - started)
    until(lambda: _waiting() == before + count, "waiting runs")
    _vacuum()
    payload = len(PROMPT.encode())
    tell(
        submits_per_second=rate,
        bytes_per_run=(_size() - size) / count,
        payload_bytes=payload,
        held_leases=Run.objects.exclude(leased_by=None).count(),
        worker_memory_kb_per_run=(_workers_memory() - memory) / count / 1024,
        runs=count,
    )


def _waiting() -> int:
    return Run.objects.filter(state=RunState.WAITING).count()


def _vacuum() -> None:
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"VACUUM FULL {table}")


def _size() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name", [list(TABLES)]
        )
        return int(cursor.fetchone()[0])


def _workers_memory() -> int:
    """Resident bytes of the worker's processes, whose ids the bench names."""
    pages = 0
    for pid in os.environ.get("BENCH_WORKERS", "").split():
        with open(f"/proc/{pid}/statm") as figures:  # noqa: PTH123 - no file of ours
            pages += int(figures.read().split()[1])
    return pages * resource.getpagesize()


def pending(office: Office, count: int) -> None:
    """With so many gates that wait: the queue's page and a decision, p95. The gates are copies of real ones."""
    real = 60
    for _ in range(real):
        office.submit()
    until(lambda: ApprovalGate.objects.filter(state=GateState.PENDING).count() >= real, "gates")
    chosen = list(ApprovalGate.objects.filter(state=GateState.PENDING)[:real])
    _copy(chosen[0], count)
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(office.rita)
    pages = _timed(lambda: client.get("/queue/", follow=True), 40)
    waiting = iter(chosen)
    tell(
        gates=count,
        queue_p95_ms=percentile(pages, 95),
        decide_p95_ms=percentile(_timed(lambda: office.decide(next(waiting)), real - 1), 95),
    )


def _timed(what: Callable[[], Any], count: int) -> list[float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        what()
        times.append((time.perf_counter() - started) * 1000)
    return times


def _copy(gate: ApprovalGate, count: int) -> None:
    own = {
        "id": "gen_random_uuid()",
        "run_id": "gen_random_uuid()",
        "nonce": "md5(random()::text || n) || md5(n::text)",
    }
    columns = [str(field.column) for field in ApprovalGate._meta.concrete_fields]  # noqa: SLF001 - Django's public name for it
    values = ", ".join(own.get(column, f'"{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO approvals_approvalgate ({names}) SELECT {values} FROM approvals_approvalgate, "
            "generate_series(1, %s) AS n WHERE id = %s",
            [count, gate.pk],
        )
        cursor.execute("ANALYZE approvals_approvalgate")


def steps(office: Office, count: int) -> None:
    """One run of so many steps, in this process: CPU of a step late in the run against one early in it."""
    office.allow("allow")
    Agent.objects.filter(pk=office.agent.pk).update(max_steps=count + 10, time_limit_seconds=3600, max_tokens=10**9)
    _silence()
    execution.warm()
    marks: list[float] = []
    provider_mark(marks)
    run = office.submit("\n\n".join(f'calculator {{"expression": "{step} + 1"}}' for step in range(count)))
    tasks.advance_run(run_id=str(run.pk))
    run.refresh_from_db()
    if run.state != RunState.SUCCEEDED:
        raise SystemExit(f"the run of {count} steps is {run.state}: {run.error_message}")
    costs = [later - earlier for earlier, later in pairwise(marks)]
    early, late = percentile(costs[3:23], 50), percentile(costs[-20:], 50)
    tell(steps=count, cpu_ms_at_step_5=early * 1000, cpu_ms_at_end=late * 1000, ratio=late / early)


def provider_mark(marks: list[float]) -> None:
    """Note the CPU time of this thread whenever the model is asked."""
    from agents.providers.scripted import ScriptedProvider  # noqa: PLC0415 - only here

    complete = ScriptedProvider.complete

    def marked(self: ScriptedProvider, *arguments: Any, **named: Any) -> Any:
        marks.append(time.thread_time())
        return complete(self, *arguments, **named)

    ScriptedProvider.complete = marked  # type: ignore[method-assign]


def embedded(office: Office, count: int) -> None:
    """Round trips in this one process and thread, on whatever database the site has; nothing is published."""
    _silence()
    execution.warm()

    def trip() -> None:
        run = office.submit()
        tasks.advance_run(run_id=str(run.pk))
        office.decide_all()
        tasks.advance_run(run_id=str(run.pk))

    for _ in range(3):
        trip()
    before, processor, started = finished(), time.process_time(), time.perf_counter()
    for _ in range(count):
        trip()
    assert finished() - before == count
    took = time.perf_counter() - started
    tell(per_second=count / took, cpu_ms=(time.process_time() - processor) / count * 1000)


def _silence() -> None:
    """This process is its own worker: no bell is needed."""
    queue._publish = lambda _run, _after: None  # type: ignore[assignment]  # noqa: SLF001 - the seam that tests use


MEASURES: dict[str, Callable[[Office, int], None]] = {
    "round-trips": round_trips,
    "starts": starts,
    "suspended": suspended,
    "pending": pending,
    "steps": steps,
    "embedded": embedded,
}

if __name__ == "__main__":
    MEASURES[sys.argv[1]](Office(), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)
