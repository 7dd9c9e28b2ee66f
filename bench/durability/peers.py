"""The peers, each in a process of its own: a suspended round trip (start, gate, decide, resume, finish) as they do it.

Their model call, tool and answer are functions that return at once; they keep no policy, no redaction and no ledger.
Run by the bench: `python -m bench.durability.peers langgraph-postgres|langgraph-sqlite|dbos|celery PLACE RUNS THREADS`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypedDict

import redis

from bench.durability.bare import bare_celery
from bench.durability.figures import percentile, tell

Trip = Callable[[], float]

# Seconds without one finished task of bare Celery, after which those that are missing count as lost.
SILENCE = 30.0


def rounds(trip: Trip, runs: int, threads: int) -> None:
    """Time `runs` round trips on some threads; a trip answers the milliseconds from its decision to its tool."""
    for _ in range(3):
        trip()
    processor, started = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        resumed = list(pool.map(lambda _: trip(), range(runs)))
    took = time.perf_counter() - started
    tell(
        per_second=runs / took,
        cpu_ms=(time.process_time() - processor) / runs * 1000,
        decision_to_tool_p50_ms=percentile(resumed, 50),
        decision_to_tool_p99_ms=percentile(resumed, 99),
    )


class State(TypedDict, total=False):
    """What the graph carries."""

    prompt: str
    call: dict[str, Any]
    decision: str
    result: str
    started: float
    answer: str


def langgraph(saver: Any, runs: int, threads: int) -> None:
    """One graph of four nodes with an interrupt, every step checkpointed before the next."""
    from langgraph.graph import END, START, StateGraph  # noqa: PLC0415 - the extra may be missing
    from langgraph.types import Command, interrupt  # noqa: PLC0415 - as above

    saver.setup()
    graph: Any = StateGraph(State)
    graph.add_node("model", lambda _state: {"call": {"tool": "calculator", "arguments": {"expression": "6 * 7"}}})
    graph.add_node("gate", lambda state: {"decision": interrupt(state["call"])})
    graph.add_node("tool", lambda _state: {"result": str(6 * 7), "started": time.perf_counter()})
    graph.add_node("final", lambda state: {"answer": f"done: {state['result']}"})
    for first, second in ((START, "model"), ("model", "gate"), ("gate", "tool"), ("tool", "final"), ("final", END)):
        graph.add_edge(first, second)
    compiled = graph.compile(checkpointer=saver)

    def trip() -> float:
        thread = {"configurable": {"thread_id": uuid.uuid4().hex}}
        compiled.invoke({"prompt": "calculate 6 * 7"}, thread, durability="sync")
        decided = time.perf_counter()
        ended = compiled.invoke(Command(resume="approve"), thread, durability="sync")
        assert ended["answer"] == "done: 42"
        return float(ended["started"] - decided) * 1000

    rounds(trip, runs, threads)


def langgraph_postgres(place: str, runs: int, threads: int) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver  # noqa: PLC0415 - the extra may be missing
    from psycopg.rows import dict_row  # noqa: PLC0415 - as above
    from psycopg_pool import ConnectionPool  # noqa: PLC0415 - as above

    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    with ConnectionPool(place, min_size=threads, max_size=threads, kwargs=options) as pool:
        saver: Any = PostgresSaver(pool)  # its rows are dicts, by `options`
        langgraph(saver, runs, threads)


def langgraph_sqlite(place: str, runs: int, threads: int) -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver  # noqa: PLC0415 - the extra may be missing

    with SqliteSaver.from_conn_string(place) as saver:
        langgraph(saver, runs, threads)


def dbos(place: str, runs: int, threads: int) -> None:
    """One workflow that waits for a message; model and tool are steps."""
    from dbos import DBOS, SetWorkflowID  # noqa: PLC0415 - the extra may be missing

    DBOS(config={"name": "bench", "system_database_url": place, "log_level": "ERROR"})

    @DBOS.step()
    def model() -> dict[str, Any]:
        return {"tool": "calculator", "arguments": {"expression": "6 * 7"}}

    @DBOS.step()
    def tool() -> list[Any]:
        return ["42", time.perf_counter()]

    @DBOS.workflow()
    def job() -> list[Any]:
        model()
        assert DBOS.recv("decision", timeout_seconds=120) == "approve"
        return tool()

    DBOS.launch()

    def trip() -> float:
        name = uuid.uuid4().hex
        with SetWorkflowID(name):
            handle = DBOS.start_workflow(job)
        decided = time.perf_counter()
        DBOS.send(name, "approve", "decision")
        return float(handle.get_result()[1] - decided) * 1000

    rounds(trip, runs, threads)
    DBOS.destroy()


def celery(place: str, runs: int, threads: int) -> None:
    """No-op tasks through a broker and one prefork worker: what the bell alone could carry. Nothing is durable."""
    app = bare_celery(place)
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "bench.durability.bare",
            "worker",
            "--pool",
            "prefork",
            "--concurrency",
            str(threads),
            "--loglevel",
            "ERROR",
            "--without-gossip",
            "--without-mingle",
        ],
        env={**os.environ, "BENCH_BROKER": place},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    counter = redis.Redis.from_url(place)

    def done_of(count: int) -> int:
        """Wait until so many tasks are done, or until none was for `SILENCE`: without results a lost one stays lost."""
        done, heard = 0, time.monotonic()
        while done < count and time.monotonic() - heard < SILENCE:
            time.sleep(0.001)
            now = int(counter.get("bench-done") or 0)
            if now > done:
                done, heard = now, time.monotonic()
        return done

    try:
        app.send_task("bench.noop")
        before = done_of(1)
        started = time.perf_counter()
        for _ in range(runs):
            app.send_task("bench.noop")
        done = done_of(before + runs) - before
        if done < runs:
            raise SystemExit(f"{runs - done} of {runs} tasks were lost")
        tell(per_second=runs / (time.perf_counter() - started))
    finally:
        worker.terminate()
        worker.wait()


PEERS: dict[str, Callable[[str, int, int], None]] = {
    "langgraph-postgres": langgraph_postgres,
    "langgraph-sqlite": langgraph_sqlite,
    "dbos": dbos,
    "celery": celery,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
