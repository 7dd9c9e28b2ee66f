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

IN_FLIGHT = 16
ARMED = 5
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
ACTIONS = ("kill9", "raise", "raise", "drop_conn", "drop_conn", "sleep=0.3")


class Soak:
    """Keeps jobs coming and breaks things, one after the other."""

    def __init__(self, arena: Arena, chance: random.Random) -> None:
        self.arena = arena
        self.chance = chance
        self.injected: Counter[str] = Counter()
        self.armed: dict[str, str] = {}

    def run(self, count: int, seconds: float) -> None:
        """Inject `count` faults, or as many as `seconds` allow: one counts when a process has met it."""
        begun, told = time.monotonic(), 0
        while self.total() < count and time.monotonic() - begun < seconds:
            self._keep_busy()
            self._points()
            self._from_outside()
            with contextlib.suppress(psycopg.Error, httpx.HTTPError):
                self.arena.decide_all(most=4)
            if self.total() // 50 > told:
                told = self.total() // 50
                took = time.monotonic() - begun
                print(f"{self.total()} faults in {took:.0f} s, {len(self.arena.keys)} runs", flush=True)

    def _from_outside(self) -> None:
        """Break what has been broken least for its weight, where somebody is there to be hit.

        What costs nothing to break (a wire) would else be nearly all that ever happens.
        """
        acts: dict[str, tuple[int, Callable[[], bool]]] = {
            "worker process killed": (30, self.arena.kill_slot),
            "database connections ended": (12, lambda: self.arena.terminate_backends() > 0),
            "database wire cut": (12, lambda: self.arena.database.cut() > 0),
            "broker wire cut": (12, lambda: self.arena.broker.cut() > 0),
            "broker emptied": (6, self._flush),
            "worker process frozen past its lease": (4, self._freeze),
            "whole worker killed": (1, self._worker),
        }
        outside = sum(self.injected[name] for name in acts)
        met = self.total() - outside
        # Points that processes meet by themselves come first: at most as many again from outside.
        if not self.arena.slots() or outside > met + 10:
            return
        name = min(acts, key=lambda name: ((self.injected[name] + 1) / acts[name][0], self.chance.random()))
        with contextlib.suppress(psycopg.Error, redis.RedisError, OSError, AssertionError):
            self.injected[name] += acts[name][1]()

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
        while len(self.armed) < ARMED:
            point = self.chance.choice([each for each in WORKER_POINTS if each not in self.armed])
            self.armed[point] = self.chance.choice(ACTIONS)
            self.arena.arm(point, self.armed[point], n=self.chance.randint(1, 2))

    def _flush(self) -> bool:
        with self.arena.redis() as broker:
            return bool(broker.flushdb())

    def _freeze(self) -> bool:
        slots = self.arena.slots()
        if not slots:
            return False
        frozen = self.chance.choice(slots)
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGSTOP)
            time.sleep(arenas.LEASE + 1)
            os.kill(frozen, signal.SIGCONT)
        return True

    def _worker(self) -> bool:
        self.arena.restart("worker")
        # Breaking a worker that is still starting breaks nothing.
        eventually(self.arena.slots, within=120, what="the worker's slots")
        moved = self._moved()
        eventually(lambda: self._moved() > moved, within=120, what="a run moves")
        return True

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
