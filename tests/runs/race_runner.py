"""Runs races for runs, with threads and real commits: `python -m tests.runs.race_runner NAME=ROUNDS ...`.

The database is the one of the environment. Prints one JSON object: by race and round, what each side got and what the
database and the agent's folder hold afterwards.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.conf import settings

# Nobody signs in by a password here, and a good hash takes as long as six races.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
django.setup()

from django.db import connection, transaction  # noqa: E402 - after the set-up

from agents import queue, runs  # noqa: E402
from agents.errors import RunFinished  # noqa: E402
from agents.models import Agent, Run, ToolCall  # noqa: E402
from agents.states import RUN_FINISHED, RunState  # noqa: E402
from approvals import gates, halting  # noqa: E402
from approvals.errors import ApprovalError  # noqa: E402
from approvals.halting import Target  # noqa: E402
from approvals.models import ApprovalGate, TenantPolicy, ToolAllowance  # noqa: E402
from routekit_site.tenancy.clock import database_now  # noqa: E402
from routekit_site.tenancy.roles import Role  # noqa: E402
from tests.fixtures.cast import make_tenant, make_user  # noqa: E402
from traces.models import TraceEvent  # noqa: E402

Side = Callable[[], object]
Outcome = dict[str, Any]


class Floor:
    """A tenant with an agent whose writes are asked about, alice who submits, rita who decides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tenant = make_tenant(f"race-{uuid.uuid4().hex[:8]}")
        self.alice = make_user(f"alice-{self.tenant.slug}", (self.tenant, Role.DEVELOPER))
        self.rita = make_user(f"rita-{self.tenant.slug}", (self.tenant, Role.REVIEWER))
        TenantPolicy.objects.create(tenant=self.tenant, approval_hold_seconds=0)
        ToolAllowance.objects.create(tenant=self.tenant, tool="write_file", mode="ask")
        self.agent = Agent.objects.create(
            tenant=self.tenant,
            name="Writer",
            provider="scripted",
            sandbox={"filesystem": {"sandbox_root": str(folder)}},
        )

    def waiting(self) -> tuple[Run, ApprovalGate, Path]:
        """A run that waits for a decision about a file of its own."""
        name = f"{uuid.uuid4().hex}.txt"
        with transaction.atomic():
            run = runs.submit(
                tenant_id=self.tenant.pk,
                user=self.alice,
                agent_id=self.agent.pk,
                prompt="write_file " + json.dumps({"path": name, "text": "done"}),
                idempotency_key=uuid.uuid4().hex,
                now=database_now(),
            )
        runs.advance(run.pk, worker="first")
        return run, ApprovalGate.objects.get(run_id=run.pk), self.folder / name

    def approve(self, gate: ApprovalGate) -> None:
        ballot = gates.Ballot("approve", gate.digest, gate.view_digest, uuid.uuid4().hex)
        with transaction.atomic():
            gates.decide(gate.pk, self.rita, ballot, now=database_now())

    def cancel(self, run: Run) -> None:
        with transaction.atomic():
            runs.cancel(run.pk, self.alice, now=database_now())

    def to_the_end(self, run: Run) -> None:
        """Let one worker after the other go on with the run until it is over."""
        for number in range(10):
            runs.advance(run.pk, worker=f"after-{number}")
            if Run.objects.filter(pk=run.pk, state__in=RUN_FINISHED).exists():
                return


def race(*sides: Side) -> list[str]:
    """Start all sides at the same moment, each on a connection of its own; what each one got."""
    barrier = threading.Barrier(len(sides))
    outcomes = [""] * len(sides)

    def run(position: int, side: Side) -> None:
        connection.ensure_connection()
        barrier.wait(timeout=30)
        try:
            side()
            outcomes[position] = "done"
        except (ApprovalError, RunFinished) as error:
            outcomes[position] = type(error).__name__
        except Exception as error:  # noqa: BLE001 - the test sees it and fails
            outcomes[position] = f"crash: {type(error).__name__}: {error}"
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(sides)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def after(run: Run, written: Path, sides: list[str]) -> Outcome:
    """What the database and the folder hold of a run."""
    run.refresh_from_db()
    call, gate = ToolCall.objects.get(run=run), ApprovalGate.objects.get(run_id=run.pk)
    events = TraceEvent.objects.filter(trace_id=run.pk).order_by("number")
    return {
        "sides": sides,
        "run": run.state,
        "call": call.state,
        "attempts": call.attempts,
        "gate": gate.state,
        "written": written.exists(),
        "started": sum(event.kind == "tool.started" for event in events),
        "fences": [event.payload["fence"] for event in events if event.kind in ("run.started", "run.resumed")],
        "numbers": [event.number for event in events],
    }


def two_workers(floor: Floor) -> Outcome:
    """Four workers take up one approved run."""
    run, gate, written = floor.waiting()
    floor.approve(gate)
    sides = race(*[lambda name=name: runs.advance(run.pk, worker=name) for name in "abcd"])
    return after(run, written, sides)


def cancel_or_advance(floor: Floor) -> Outcome:
    """Alice cancels an approved run while a worker takes it up."""
    run, gate, written = floor.waiting()
    floor.approve(gate)
    sides = race(lambda: runs.advance(run.pk, worker="w"), lambda: floor.cancel(run))
    floor.to_the_end(run)
    return after(run, written, sides)


def cancel_or_approve(floor: Floor) -> Outcome:
    """Alice cancels while Rita approves; a worker looks at the run all the time."""
    run, gate, written = floor.waiting()
    sides = race(
        lambda: floor.approve(gate), lambda: floor.cancel(run), *[lambda: runs.advance(run.pk, worker="w")] * 2
    )
    floor.to_the_end(run)
    return after(run, written, sides)


def halt_or_advance(floor: Floor) -> Outcome:
    """The kill switch is thrown for the agent while a worker takes up its approved run; then it is taken back."""
    run, gate, written = floor.waiting()
    floor.approve(gate)
    target = Target(floor.tenant, str(floor.agent.pk), floor.agent.name)
    found: list[int] = []

    def halt() -> None:
        with transaction.atomic():
            found.append(halting.halt(target, by="test", reason="A race.", now=database_now()).pk)

    sides = race(lambda: runs.advance(run.pk, worker="w"), halt)
    stopped = {"finished_meanwhile": Run.objects.filter(pk=run.pk, state=RunState.SUCCEEDED).exists()}
    runs.advance(run.pk, worker="halted")
    stopped["moved_while_halted"] = (
        not stopped["finished_meanwhile"] and Run.objects.filter(pk=run.pk, state__in=RUN_FINISHED).exists()
    )
    with transaction.atomic():
        halting.lift(found[0], by="test", now=database_now())
    Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(wake_at=None)
    floor.to_the_end(run)
    return {**after(run, written, sides), **stopped}


RACES = {
    function.__name__: function for function in (two_workers, cancel_or_advance, cancel_or_approve, halt_or_advance)
}


def prepared() -> list[str]:
    """What the server keeps prepared for this connection, under the site's own settings."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [statement for (statement,) in cursor.fetchall()]


def main() -> None:
    """Run the races that the command line names."""
    queue._publish = lambda _run, _after: None  # type: ignore[assignment]
    asked = [argument.split("=") for argument in sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="routekit-races-") as directory:
        floor = Floor(Path(directory))
        results = {name: [RACES[name](floor) for _ in range(int(rounds))] for name, rounds in asked}
    sys.stdout.write(json.dumps({"vendor": connection.vendor, "races": results, "prepared": prepared()}))
    sys.stdout.flush()
    # The sandbox's own process and the doorbell's thread end with this one.
    os._exit(0)


if __name__ == "__main__":
    main()
