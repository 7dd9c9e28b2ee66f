"""A whole site of real processes that may be broken in every way: its wires, its points, its people, its journal."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import redis

from tests.faults.app.routekit_tools import JOURNAL
from tests.faults.invariants import broken, effects
from tests.faults.wires import Wire
from tests.fixtures.migrated import migrated_database
from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site, prepare_stack, start_compose, stopping
from tests.fixtures.services import Services, redis_database, with_path

LEASE = 3.0
T = TypeVar("T")
_HIDDEN = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"')
_ALLOW = """
from approvals.models import ToolAllowance
from routekit_site.tenancy.models import Tenant
for tenant in Tenant.objects.all():
    for tool in ("effect", "repeatable"):
        ToolAllowance.objects.update_or_create(tenant=tenant, tool=tool, defaults={"mode": "by_permission"})
"""


@dataclass
class Arena:
    """The site, and what the tests do to it and know of it."""

    site: Site
    direct: Services
    database: Wire
    broker: Wire
    points: Path
    people: dict[str, Person] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        """Where the tools leave their effects."""
        return Path(self.site.environment["ROUTEKIT_DATA_DIR"]) / "sandboxes" / "acme" / "files-and-web" / JOURNAL

    def person(self, name: str) -> Person:
        """Somebody who stays signed in."""
        if name not in self.people:
            self.people[name] = Person.at(self.site, name)
        return self.people[name]

    def ask(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the database, past the wire."""
        with psycopg.connect(self.direct.database_url, connect_timeout=10) as database:
            return database.execute(sql, parameters).fetchall()

    def ask_outside(self, sql: str) -> None:
        """One statement that must not run in a transaction, from another database of the server."""
        admin = with_path(self.direct.database_url, "postgres")
        with psycopg.connect(admin, autocommit=True, connect_timeout=10) as database:
            database.execute(sql.encode())

    def arm(self, point: str, action: str, n: int = 1) -> None:
        """Break the next process that comes to this point."""
        fresh = self.points / f".{point}"
        fresh.write_text(f"{n}:{action}", encoding="utf-8")
        fresh.rename(self.points / point)

    def taken(self, point: str) -> bool:
        """Whether some process has met the armed point since it was armed."""
        return not (self.points / point).exists()

    def submit(self, tool: str = "effect", linger: float = 0.0) -> str:
        """Hand in a job of one call with a key of its own; the run's id. The same form is sent until it is taken."""
        key = f"key-{len(self.keys)}-{random.randrange(10**6)}"  # noqa: S311 - a name, no secret
        prompt = f'{tool} {{"key": "{key}", "linger": {linger}}}'
        form = eventually(
            lambda: self._answered(lambda: self.person("alice").job_form(prompt)), within=60, what="a form"
        )
        run = eventually(lambda: self._answered(lambda: self.person("alice").hand_in(form)), within=60, what="a run")
        self.keys[run] = key
        return run

    def _answered(self, ask: Callable[[], T]) -> T | None:
        with contextlib.suppress(httpx.HTTPError, AssertionError):
            return ask()
        return None

    def state(self, run: str) -> str:
        """A run's state."""
        return str(self.ask("SELECT state FROM agents_run WHERE id = %s", run)[0][0])

    def ends(self, run: str, *, within: float = 60.0) -> str:
        """The state in which a run ends, while its gates are decided truthfully."""

        def over() -> str:
            self.decide_all()
            state = self.state(run)
            return state if state in {"succeeded", "failed", "cancelled", "timed_out"} else ""

        return eventually(over, within=within, what=f"the end of run {run}")

    def account(self, run: str) -> str:
        """All that is known of a run, for the message of a test that found it wrong: calls, gates, events, the log."""
        calls = self.ask(
            "SELECT c.tool, c.state, c.outcome, c.attempts, c.tier, c.result_redacted, c.usage, g.state, g.reason "
            "FROM agents_toolcall c LEFT JOIN approvals_approvalgate g ON g.id = c.gate_id WHERE c.run_id = %s",
            run,
        )
        events = self.ask("SELECT number, at, kind, payload FROM traces_traceevent WHERE trace_id = %s ORDER BY 1", run)
        log = self.site.processes["worker"].log_text()[-4000:]
        return "\n".join([f"run {run}, key {self.keys.get(run)}", *map(str, [*calls, *events]), log])

    def waits(self, run: str, *, within: float = 60.0) -> None:
        """Wait until a run waits for a person."""
        eventually(lambda: self.state(run) == "waiting", within=within, what=f"run {run} waits")

    def decide_all(self, most: int = 50) -> int:
        """Decide what waits, as a reviewer who looks at the journal first; how many were acknowledged."""
        waiting = self.ask(
            "SELECT g.id, g.tool, c.arguments_redacted ->> 'key', c.state FROM approvals_approvalgate g "
            "JOIN agents_toolcall c ON c.gate_id = g.id WHERE g.state = 'pending' LIMIT %s",
            most,
        )
        done = 0
        for gate, tool, key, state in waiting:
            happened = state == "unknown" and effects(self.journal)[tool, key] > 0
            done += self.decide(str(gate), tool, "reject" if happened else "approve")
        return done

    def decide(self, gate: str, tool: str, kind: str) -> bool:
        """Decide one gate by its page; the same form is sent until there is an answer, as a person would."""
        form: dict[str, str] = {}
        for _ in range(20):
            try:
                if not form:
                    page = self.person("rita").client.get(f"/queue/{gate}/")
                    form = dict(_HIDDEN.findall(page.text)) if page.status_code == 200 else {}
                if "digest" in form:
                    form |= {"kind": kind, "reason": "", "confirm": tool}
                    answer = self.person("rita").post(f"/queue/{gate}/decide/", form, json=True)
                    if answer.status_code < 500:
                        return self._noted(gate, kind, answer)
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        return False

    def _noted(self, gate: str, kind: str, answer: httpx.Response) -> bool:
        if answer.status_code == 200:
            self.acknowledged[gate] = kind
        return answer.status_code == 200

    def slots(self) -> list[int]:
        """Process ids of the worker's prefork children."""
        worker = self.site.processes["worker"].popen.pid
        return [pid for pid in _children(worker) if "celery" in _command(pid)]

    def kill_slot(self) -> bool:
        """SIGKILL one prefork child; whether there was one."""
        slots = self.slots()
        if slots:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(slots), signal.SIGKILL)  # noqa: S311 - any of them
        return bool(slots)

    def footprint(self) -> dict[str, int]:
        """What the site holds: memory of web and worker (KB), connections to the database, keys in the broker."""
        pids = [pid for process in self.site.processes.values() for pid in _family(process.popen.pid)]
        ((connections,),) = self.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        with self.redis() as broker:
            keys = broker.dbsize()
        return {"memory": sum(map(_resident, pids)), "connections": int(connections), "keys": int(keys)}

    def terminate_backends(self) -> int:
        """End every connection to the site's database on the server."""
        found = self.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(found)

    def redis(self) -> redis.Redis:
        """The broker, past the wire."""
        return redis.Redis.from_url(self.direct.redis_url, socket_timeout=5, socket_connect_timeout=5)

    def ring_again(self, times: int = 2) -> int:
        """Put bells for all unfinished runs into the queue, each several times; how many."""
        runs = [run for (run,) in self.ask("SELECT id FROM agents_run WHERE finished_at IS NULL LIMIT 20")]
        code = _RING.format(ids=[str(run) for run in runs for _ in range(times)])
        self.site.manage("shell", "--no-imports", "-c", code)
        return len(runs) * times

    def restart(self, name: str) -> None:
        """Kill a whole process tree, and start it anew."""
        self.site.processes[name].kill()
        start_compose(self.site, name)

    @contextlib.contextmanager
    def clock(self, ahead: str, *names: str) -> Iterator[None]:
        """Restart processes with a clock that is wrong by so much ("+10m", "-10m"); afterwards with the right one."""
        library = fake_clock()
        assert library is not None
        own = {
            "LD_PRELOAD": library,
            "FAKETIME": ahead,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": str(Path(__file__).with_name("clock")),
        }
        self.site.environment |= own
        try:
            for name in names:
                self.restart(name)
            yield
        finally:
            for variable in own:
                self.site.environment.pop(variable)
            for name in names:
                self.restart(name)

    def settle(self, *, within: float = 120.0) -> None:
        """Everything that was broken works again; wait until no run can move without a person, deciding all."""
        self.database.refusing = self.broker.refusing = False
        self.database.delay = self.broker.delay = 0.0
        self.database.silent = self.broker.silent = False
        for armed in self.points.iterdir():
            if not armed.name.startswith(".") and ".taken-" not in armed.name:
                armed.unlink(missing_ok=True)

        def still() -> bool:
            self.decide_all()
            open_runs = self.ask("SELECT count(*) FROM agents_run WHERE finished_at IS NULL")
            return open_runs == [(0,)]

        eventually(still, within=within, what="all runs end")

    def faults(self) -> list[str]:
        """The invariants that do not hold."""
        return broken(self.direct.database_url, self.journal, self.acknowledged)


def fake_clock() -> str | None:
    """The library libfaketime (a Debian package), where the machine has it or ROUTEKIT_TEST_FAKETIME names it."""
    named = os.environ.get("ROUTEKIT_TEST_FAKETIME")
    found = [named] if named else sorted(map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")))
    return found[0] if found else None


_RING = "from agents import queue\nfor each in {ids}: queue._publish(each, 0.0)"


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def _family(pid: int) -> list[int]:
    return [pid, *(each for child in _children(pid) for each in _family(child))]


def _resident(pid: int) -> int:
    """Kilobytes in memory."""
    with contextlib.suppress(OSError):
        found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


@contextlib.contextmanager
def arena(services: Services, directory: Path, **extra: str) -> Iterator[Arena]:
    """A site on PostgreSQL and Redis through two wires, running."""
    with contextlib.ExitStack() as cleanup:
        direct = Services(
            cleanup.enter_context(migrated_database(services.database_url)),
            cleanup.enter_context(redis_database(with_path(services.redis_url, "0"))),
        )
        database, broker = Wire(direct.database_url, 5432), Wire(direct.redis_url, 6379)
        cleanup.callback(database.close)
        cleanup.callback(broker.close)
        points = directory / "points"
        points.mkdir()
        site = prepare_stack(
            directory,
            Services(database.url, broker.url),
            ROUTEKIT_APPS="tests.faults.app",
            ROUTEKIT_LEASE_SECONDS=str(LEASE),
            ROUTEKIT_TEST_FAULTS=str(points),
            ROUTEKIT_SUBMIT_RATE="100000/minute",
            ROUTEKIT_DECIDE_RATE="100000/minute",
            **extra,
        )
        cleanup.enter_context(stopping(site))
        site.manage("shell", "--no-imports", "-c", _ALLOW)
        no_hold(site)
        start_compose(site, "web", "worker", "beat")
        site.wait_until_ready(within=120)
        yield Arena(site, direct, database, broker, points)
