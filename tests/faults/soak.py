"""`python -m tests.faults.soak [COUNT [SEED [SECONDS]]]`: random faults into a working site, then every invariant.

Prints what was injected, how runs ended, and every invariant that does not hold; ends with 1 when there is one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import redis

from tests.faults import arena as arenas
from tests.faults.arena import Arena
from tests.faults.invariants import effects
from tests.fixtures.polling import eventually
from tests.fixtures.services import free_services

IN_FLIGHT = 8
WORKER_POINTS = (
    "claim.before_commit",
    "claim.after_commit",
    "model.asked",
    "answer.before_commit",
    "answer.after_commit",
    "intent.before_commit",
    "intent.after_commit",
    "tools.ran",
    "outcome.before_commit",
    "finish.before_commit",
    "sweep.ringing",
)
ACTIONS = ("kill9", "kill9", "raise", "drop_conn", "sleep=0.5")


class Soak:
    """Keeps jobs coming and breaks things, one after the other."""

    def __init__(self, arena: Arena, chance: random.Random) -> None:
        self.arena = arena
        self.chance = chance
        self.injected: Counter[str] = Counter()
        self.armed: dict[str, str] = {}

    def run(self, count: int, seconds: float) -> None:
        """Inject `count` faults, or as many as `seconds` allow: one counts when a process has met it."""
        faults: list[tuple[int, Callable[[], None]]] = [
            (60, self._slot),
            (16, self._backends),
            (16, self._cut_database),
            (16, self._cut_broker),
            (8, self._flush),
            (6, self._freeze),
            (1, self._worker),
        ]
        weights, acts = [weight for weight, _ in faults], [act for _, act in faults]
        begun, told = time.monotonic(), 0
        while self.total() < count and time.monotonic() - begun < seconds:
            self._keep_busy()
            self._points()
            # One in two rounds breaks something from outside, too, where somebody is there to be hit.
            if self.chance.random() < 0.5 and self.arena.slots():
                with contextlib.suppress(psycopg.Error, redis.RedisError, OSError, AssertionError):
                    self.chance.choices(acts, weights)[0]()
            with contextlib.suppress(psycopg.Error, httpx.HTTPError):
                self.arena.decide_all(most=4)
            if self.total() // 50 > told:
                told = self.total() // 50
                took = time.monotonic() - begun
                print(f"{self.total()} faults in {took:.0f} s, {len(self.arena.keys)} runs", flush=True)

    def total(self) -> int:
        """Faults that happened."""
        return sum(self.injected.values())

    def _keep_busy(self) -> None:
        with contextlib.suppress(psycopg.Error, AssertionError, httpx.HTTPError):
            ((unfinished,),) = self.arena.ask("SELECT count(*) FROM agents_run WHERE finished_at IS NULL")
            for _ in range(IN_FLIGHT - unfinished):
                self.arena.submit(self.chance.choice(("effect", "effect", "repeatable")))

    def _points(self) -> None:
        """Count the armed points that were met, and arm others."""
        for point in [each for each in self.armed if self.arena.taken(each)]:
            self.injected[f"{point} {self.armed.pop(point)}"] += 1
        while len(self.armed) < 3:
            point = self.chance.choice([each for each in WORKER_POINTS if each not in self.armed])
            self.armed[point] = self.chance.choice(ACTIONS)
            self.arena.arm(point, self.armed[point], n=self.chance.randint(1, 3))

    def _slot(self) -> None:
        self.injected["worker process killed"] += self.arena.kill_slot()

    def _backends(self) -> None:
        self.injected["database connections ended"] += bool(self.arena.terminate_backends())

    def _cut_database(self) -> None:
        self.injected["database wire cut"] += bool(self.arena.database.cut())

    def _cut_broker(self) -> None:
        self.injected["broker wire cut"] += bool(self.arena.broker.cut())

    def _flush(self) -> None:
        with self.arena.redis() as broker:
            broker.flushdb()
        self.injected["broker emptied"] += 1

    def _freeze(self) -> None:
        slots = self.arena.slots()
        if not slots:
            return
        frozen = self.chance.choice(slots)
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGSTOP)
            time.sleep(arenas.LEASE + 1)
            os.kill(frozen, signal.SIGCONT)
        self.injected["worker process frozen past its lease"] += 1

    def _worker(self) -> None:
        self.arena.restart("worker")
        self.injected["whole worker killed"] += 1
        # Breaking a worker that is still starting breaks nothing.
        eventually(self.arena.slots, within=120, what="the worker's slots")
        moved = self._moved()
        eventually(lambda: self._moved() > moved, within=120, what="a run moves")

    def _moved(self) -> int:
        """How many events all runs have by now."""
        return int(self.arena.ask("SELECT count(*) FROM traces_traceevent")[0][0])


def main(count: int = 2000, seed: int = 1, seconds: int = 86400) -> int:
    """Soak and tell; 1 when an invariant is broken."""
    with free_services() as services, tempfile.TemporaryDirectory(prefix="routekit-soak-") as directory:
        with arenas.arena(services, Path(directory)) as arena:
            soak = Soak(arena, random.Random(seed))  # noqa: S311 - repeatable, no secret
            begun = time.monotonic()
            soak.run(count, seconds)
            arena.settle(within=600)
            took = time.monotonic() - begun
            broken = arena.faults()
            ended = dict(arena.ask("SELECT state || ' ' || error_kind, count(*) FROM agents_run GROUP BY 1"))
            asked = arena.ask("SELECT count(*) FROM traces_traceevent WHERE kind = 'tool.unknown'")[0][0]
            journal = effects(arena.journal)
            arena.site.manage("verify_ledger")
        done = f"{len(arena.keys)} runs, {sum(journal.values())} effects"
        print(f"seed {seed}: {soak.total()} faults in {took:.0f} s, {done}")
        for what, times in soak.injected.most_common():
            print(f"  {times:5d}  {what}")
        print(f"runs ended: {ended}; questions to a person: {asked}; decisions acknowledged: {len(arena.acknowledged)}")
        print("\n".join(broken) or "lost or doubled effects: 0; every invariant holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
