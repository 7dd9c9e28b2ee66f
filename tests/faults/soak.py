"""`python -m tests.faults.soak [COUNT [SEED [SECONDS]]]`: random faults into a working site, then every invariant.

Three go on at once: alice hands in jobs, rita decides, and things are broken. Prints what was injected, how runs ended,
and every invariant that does not hold; ends with 1 when there is one.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import redis

from tests.faults import arena as arenas
from tests.faults.arena import Arena
from tests.faults.invariants import effects
from tests.fixtures.polling import eventually
from tests.fixtures.services import flush_claimed, free_services

IN_FLIGHT = 40
SLOTS = 4
ARMED = 6
PACE = 0.25
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
WEB_POINTS = ("decide.before_commit", "decide.after_commit")
ACTIONS = ("kill9", "raise", "raise", "drop_conn", "drop_conn", "sleep=0.3")
# Whoever does not answer, or answers that it can't: what was broken may break us too, and then we try again.
AWAY = (psycopg.Error, redis.RedisError, httpx.HTTPError, OSError, AssertionError)


class Soak:
    """Keeps jobs coming and breaks things, one after the other."""

    def __init__(self, arena: Arena, chance: random.Random) -> None:
        self.arena = arena
        self.chance = chance
        self.injected: Counter[str] = Counter()
        self.armed: dict[str, str] = {}
        self.over = threading.Event()
        self.frozen: threading.Thread | None = None
        self.ended: Counter[str] = Counter()

    def run(self, count: int, seconds: float) -> None:
        """Inject `count` faults, or as many as `seconds` allow: one counts when a process has met it."""
        begun, told = time.monotonic(), 0
        with self._people():
            while self.total() < count and time.monotonic() - begun < seconds:
                self._points()
                self._from_outside()
                self._supervise()
                if self.total() // 50 > told:
                    told = self.total() // 50
                    took = time.monotonic() - begun
                    print(f"{self.total()} faults in {took:.0f} s, {len(self.arena.keys)} runs", flush=True)
                time.sleep(PACE)
        if self.frozen is not None:
            self.frozen.join()

    def settle(self) -> None:
        """Nothing is broken any more; wait until everything has ended."""
        self._supervise()
        self.arena.site.wait_until_ready(within=120)
        self.arena.settle(within=600)

    @contextlib.contextmanager
    def _people(self) -> Iterator[None]:
        """Alice and rita at work, each in a thread of her own."""
        people = [threading.Thread(target=self._work, args=(work,)) for work in (self._submit, self._decide)]
        for each in people:
            each.start()
        try:
            yield
        finally:
            self.over.set()
            for each in people:
                each.join()

    def _work(self, work: Callable[[], None]) -> None:
        while not self.over.is_set():
            with contextlib.suppress(*AWAY):
                work()
            self.over.wait(0.1)

    def _submit(self) -> None:
        ((unfinished,),) = self.arena.ask("SELECT count(*) FROM agents_run WHERE finished_at IS NULL")
        if unfinished < IN_FLIGHT:
            self.arena.submit(random.choice(("effect", "effect", "repeatable")))  # noqa: S311 - any of them

    def _decide(self) -> None:
        self.arena.decide_all(most=4)

    def _supervise(self) -> None:
        """Start again what has ended, as the compose file's `restart: unless-stopped` does, and count it."""
        for name in [name for name, process in self.arena.site.processes.items() if process.popen.poll() is not None]:
            self.ended[name] += 1
            last = [line for line in self.arena.site.processes[name].log_text().splitlines() if "CRITICAL" in line][-1:]
            print(f"{name} ended by itself: {last}", flush=True)
            self.arena.restart(name)

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
            "web killed": (1, self._web),
            "beat killed": (1, self._beat),
        }
        outside = sum(self.injected[name] for name in acts)
        met = self.total() - outside
        # Points that processes meet by themselves come first: at most as many again from outside.
        if not self.arena.slots() or outside > met + 10:
            return
        name = min(acts, key=lambda name: ((self.injected[name] + 1) / acts[name][0], self.chance.random()))
        with contextlib.suppress(*AWAY):
            self.injected[name] += acts[name][1]()

    def total(self) -> int:
        """Faults that happened."""
        return sum(self.injected.values())

    def _points(self) -> None:
        """Count the armed points that were met, and arm others."""
        for point in [each for each in self.armed if self.arena.taken(each)]:
            self.injected[f"{point} {self.armed.pop(point)}"] += 1
        while len(self.armed) < ARMED:
            point = self.chance.choice([each for each in (*WORKER_POINTS, *WEB_POINTS) if each not in self.armed])
            # Nobody starts the web process again when it is killed from within.
            actions = [each for each in ACTIONS if each != "kill9" or point not in WEB_POINTS]
            self.armed[point] = self.chance.choice(actions)
            self.arena.arm(point, self.armed[point], n=self.chance.randint(1, 2))

    def _flush(self) -> bool:
        with self.arena.redis() as broker:
            flush_claimed(broker)
        return True

    def _freeze(self) -> bool:
        """Stop a process that holds a run until its lease is over, while all else goes on; one at a time."""
        if self.frozen is not None and self.frozen.is_alive():
            return False
        holders = self.arena.ask("SELECT split_part(leased_by, ':', 2)::int FROM agents_run WHERE state = 'running'")
        slots = [pid for (pid,) in holders if pid in self.arena.slots()]
        if not slots:
            return False
        chosen = self.chance.choice(slots)
        with contextlib.suppress(ProcessLookupError):
            os.kill(chosen, signal.SIGSTOP)
            self.frozen = threading.Thread(target=self._thaw, args=(chosen,))
            self.frozen.start()
            return True
        return False

    def _thaw(self, frozen: int) -> None:
        time.sleep(arenas.LEASE + 1)
        with contextlib.suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGCONT)

    def _worker(self) -> bool:
        self.arena.restart("worker")
        # Breaking a worker that is still starting breaks nothing.
        eventually(self.arena.slots, within=120, what="the worker's slots")
        moved = self._moved()
        eventually(lambda: self._moved() > moved, within=120, what="a run moves")
        return True

    def _web(self) -> bool:
        if not httpx.get(f"{self.arena.site.url}/healthz", timeout=5).is_success:
            return False
        self.arena.restart("web")
        return True

    def _beat(self) -> bool:
        self.arena.restart("beat")
        return True

    def _moved(self) -> int:
        """How many events all runs have by now."""
        return int(self.arena.ask("SELECT count(*) FROM traces_traceevent")[0][0])


def main(count: int = 2000, seed: int = 1, seconds: int = 86400) -> int:
    """Soak and tell; 1 when an invariant is broken."""
    with free_services() as services, tempfile.TemporaryDirectory(prefix="routekit-soak-") as directory:
        with arenas.arena(services, Path(directory), WORKER_CONCURRENCY=str(SLOTS)) as arena:
            soak = Soak(arena, random.Random(seed))  # noqa: S311 - repeatable, no secret
            begun = time.monotonic()
            soak.run(count, seconds)
            soak.settle()
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
        print(f"processes that ended by themselves and were started again: {dict(soak.ended)}")
        print(f"runs ended: {ended}; questions to a person: {asked}; decisions acknowledged: {len(arena.acknowledged)}")
        print("\n".join(broken) or "lost or doubled effects: 0; every invariant holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
