"""Cases of docs/reference/faults.md on real processes: PostgreSQL, Redis, prefork (profile PF). Numbers are its."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import httpx
import pytest

from tests.faults.arena import LEASE, Arena
from tests.faults.invariants import effects
from tests.fixtures.polling import eventually
from tests.fixtures.processes import start_compose
from tests.fixtures.services import flush_claimed

# A worker that was killed is noticed when its lease is over; the sweep comes once a second.
RECOVERY = LEASE + 2.0
CONNECTION_LOST = "Connection to broker lost"


@pytest.mark.parametrize(
    ("number", "point"),
    [
        (1, "claim.before_commit"),
        (2, "claim.after_commit"),
        (3, "model.asked"),
        (4, "answer.before_commit"),
        (5, "answer.after_commit"),
    ],
)
@pytest.mark.slow
def test_a_worker_killed_before_the_gate_loses_nothing(arena: Arena, number: int, point: str) -> None:
    assert number
    arena.arm(point, "kill9")
    run = arena.submit()
    eventually(lambda: arena.taken(point), what=f"a worker dies at {point}")
    arena.waits(run)
    assert arena.ask("SELECT count(*) FROM approvals_approvalgate WHERE run_id = %s", run) == [(1,)]
    assert arena.ends(run) == "succeeded"


@pytest.mark.slow
def test_06_a_decision_survives_the_web_process(arena: Arena) -> None:
    run = arena.submit()
    arena.waits(run)
    ((gate, tool),) = arena.ask("SELECT id, tool FROM approvals_approvalgate WHERE run_id = %s", run)
    arena.arm("decide.after_commit", "kill9")
    with pytest.raises(httpx.HTTPError):
        arena.person("rita").decide({"id": str(gate), "tool": tool}, "approve").raise_for_status()
    assert arena.taken("decide.after_commit")
    arena.restart("web")
    arena.site.wait_until_ready(within=120)
    assert arena.ask("SELECT kind FROM approvals_decision WHERE gate_id = %s", gate) == [("approve",)]
    assert arena.ends(run) == "succeeded"


@pytest.mark.parametrize(
    ("number", "point", "tool"),
    [
        (7, "intent.after_commit", "effect"),
        (9, "tools.ran", "repeatable"),
        (10, "tools.ran", "effect"),
        (10, "outcome.before_commit", "effect"),
    ],
)
@pytest.mark.slow
def test_a_worker_killed_around_the_effect_repeats_nothing(arena: Arena, number: int, point: str, tool: str) -> None:
    assert number
    run = arena.submit(tool)
    arena.waits(run)
    arena.arm(point, "kill9")
    arena.decide_all()
    eventually(lambda: arena.taken(point), what=f"a worker dies at {point}")
    assert arena.ends(run) == "succeeded"
    times = effects(arena.journal)[tool, arena.keys[run]]
    assert times == 1 or (tool == "repeatable" and times == 2)


def test_08_a_worker_killed_in_mid_call_asks_and_recovers_within_its_lease(arena: Arena) -> None:
    run = arena.submit(linger=15)
    arena.waits(run)
    arena.decide_all()
    eventually(lambda: effects(arena.journal)["effect", arena.keys[run]], what="the effect")
    arena.site.processes["worker"].kill()
    died = time.monotonic()
    start_compose(arena.site, "worker")
    eventually(
        lambda: arena.ask("SELECT state FROM agents_toolcall WHERE run_id = %s", run) == [("unknown",)],
        within=60,
        what="the call is a question",
    )
    print(f"recovery after SIGKILL: {time.monotonic() - died:.1f} s, lease {LEASE:.0f} s")  # noqa: T201 - the figure
    assert arena.ends(run) == "succeeded"
    assert effects(arena.journal)["effect", arena.keys[run]] == 1


@pytest.mark.slow
def test_recovery_after_sigkill_takes_the_lease_and_two_seconds_at_most(arena: Arena) -> None:
    """Case 12 with a second worker alive; the figure of the issue, printed."""
    run = arena.submit(linger=15)
    arena.waits(run)
    arena.decide_all()
    eventually(lambda: effects(arena.journal)["effect", arena.keys[run]], what="the effect")
    ((holder,),) = arena.ask("SELECT split_part(leased_by, ':', 2)::int FROM agents_run WHERE id = %s", run)
    os.kill(holder, signal.SIGKILL)
    died = time.monotonic()
    eventually(lambda: arena.state(run) == "waiting", what="a person is asked")
    took = time.monotonic() - died
    print(f"recovery after SIGKILL of a prefork child: {took:.1f} s, lease {LEASE:.0f} s")  # noqa: T201 - the figure
    assert arena.ends(run) == "succeeded"


@pytest.mark.slow
def test_13_a_worker_that_slept_past_its_lease_does_nothing_more(arena: Arena) -> None:
    run = arena.submit(linger=10)
    arena.waits(run)
    arena.decide_all()
    eventually(lambda: effects(arena.journal)["effect", arena.keys[run]], what="the effect")
    ((holder,),) = arena.ask("SELECT split_part(leased_by, ':', 2)::int FROM agents_run WHERE id = %s", run)
    os.kill(holder, signal.SIGSTOP)
    try:
        eventually(lambda: arena.state(run) == "waiting", what="a person is asked")
    finally:
        os.kill(holder, signal.SIGCONT)
    assert arena.ends(run) == "succeeded"
    assert effects(arena.journal)["effect", arena.keys[run]] == 1


@pytest.mark.slow
def test_15_a_poison_run_is_given_up_and_the_queue_moves_on(arena: Arena) -> None:
    def poisoned() -> bool:
        if arena.taken("model.asked") and arena.state(run) != "failed":
            arena.arm("model.asked", "kill9")
        return arena.state(run) == "failed"

    arena.arm("model.asked", "kill9")
    run = arena.submit()
    eventually(poisoned, within=90, what="the run is given up")
    ((kind, message),) = arena.ask("SELECT error_kind, error_message FROM agents_run WHERE id = %s", run)
    assert (kind, "3 times" in message) == ("crashed", True)
    arena.settle()
    assert arena.ends(arena.submit()) == "succeeded"


@pytest.mark.slow
def test_18_and_21_a_broker_that_forgets_and_one_that_stutters(arena: Arena) -> None:
    runs = [arena.submit() for _ in range(5)]
    for run in runs:
        arena.waits(run)
    arena.decide_all()
    with arena.redis() as broker:
        flush_claimed(broker)
    arena.ring_again(times=3)
    for run in runs:
        assert arena.ends(run) == "succeeded"


@pytest.mark.slow
def test_19_decisions_do_not_wait_for_a_broker_that_is_down(arena: Arena) -> None:
    run = arena.submit()
    arena.waits(run)
    arena.broker.refusing = True
    arena.broker.cut()
    assert arena.decide_all() == 1
    arena.broker.refusing = False
    assert arena.ends(run) == "succeeded"


def _replaced(arena: Arena, dead: list[int]) -> bool:
    """Whether all of them have been replaced; the broker goes as often as this is asked."""
    assert arena.site.processes["worker"].popen.poll() is None, arena.site.processes["worker"].log_text()[-2000:]
    arena.broker.cut()
    return len(set(arena.slots()) - set(dead)) == len(dead)


@pytest.mark.slow
def test_11_and_19_a_broker_that_goes_as_worker_processes_die_ends_no_worker(arena: Arena) -> None:
    for _ in range(8):
        dead = eventually(arena.slots, what="the worker's slots")
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        eventually(partial(_replaced, arena, dead), within=60, what="new slots")
    assert arena.site.processes["worker"].popen.poll() is None
    assert arena.ends(arena.submit()) == "succeeded"


@pytest.mark.slow
def test_11_and_19_a_process_that_dies_as_the_worker_starts_does_not_end_it(arena: Arena) -> None:
    arena.broker.refusing = True
    arena.restart("worker")
    # It has its processes, and looks at them once it has its broker.
    eventually(lambda: len(arena.slots()) > 1, within=60, what="the worker's slots")
    slots = arena.slots()
    os.kill(slots[0], signal.SIGKILL)
    eventually(lambda: slots[0] not in arena.slots(), what="one slot is dead")
    arena.broker.refusing = False
    run = arena.submit()
    arena.waits(run)
    eventually(lambda: len(arena.slots()) == len(slots), within=60, what="a new slot")
    assert arena.ends(run) == "succeeded"


@pytest.mark.slow
def test_16_and_19_a_worker_told_to_stop_as_its_broker_is_away_ends_with_its_bells(arena: Arena) -> None:
    worker, slots = arena.site.processes["worker"], eventually(arena.slots, what="the worker's slots")
    run = arena.submit()
    for pid in slots:
        os.kill(pid, signal.SIGSTOP)
    try:
        # Bells that the processes have got, and have not said so: Celery forgets them with the connection.
        eventually(partial(_delivered, arena, len(slots)), what="bells in the slots")
        lost = worker.log_text().count(CONNECTION_LOST)
        arena.broker.refusing = True
        arena.broker.cut()
        eventually(lambda: worker.log_text().count(CONNECTION_LOST) > lost, what="the worker misses its broker")
    finally:
        for pid in slots:
            os.kill(pid, signal.SIGCONT)
    assert worker.stop() == 0
    arena.broker.refusing = False
    start_compose(arena.site, "worker")
    assert arena.ends(run) == "succeeded"


def _delivered(arena: Arena, count: int) -> bool:
    """Whether so many bells are with the worker, which acknowledges them when a process has begun."""
    with arena.redis() as broker:
        return int(broker.hlen("unacked")) >= count


@pytest.mark.slow
def test_20_a_broker_that_goes_before_the_acknowledgement_ends_no_worker(arena: Arena) -> None:
    worker = arena.site.processes["worker"]
    for _ in range(6):
        run, lost = arena.submit(), worker.log_text().count(CONNECTION_LOST)
        slots = eventually(arena.slots, what="the worker's slots")
        for pid in slots:
            os.kill(pid, signal.SIGSTOP)
        try:
            eventually(partial(_delivered, arena, len(slots)), what="bells that are not acknowledged")
            arena.broker.refusing = True
            arena.broker.cut()
        finally:
            # What they were handed they do, and acknowledge to nobody.
            for pid in slots:
                os.kill(pid, signal.SIGCONT)
        eventually(partial(_misses_its_broker, arena, lost), what="the worker misses its broker")
        arena.broker.refusing = False
        assert arena.ends(run) == "succeeded"
        assert worker.popen.poll() is None


def _misses_its_broker(arena: Arena, times: int) -> bool:
    """Whether the worker has lost its connection once more than so many times."""
    return arena.site.processes["worker"].log_text().count(CONNECTION_LOST) > times


@pytest.mark.slow
def test_28_messages_of_another_release_are_dropped(arena: Arena) -> None:
    code = (
        "from celery import current_app as app\n"
        "app.send_task('agents.tasks.of_tomorrow', kwargs={'run_id': 'x'})\n"
        "app.send_task('agents.tasks.advance_run', kwargs={'run_id': 'no uuid', 'newer': 1})\n"
        "app.send_task('agents.tasks.advance_run', kwargs={'run_id': '00000000-0000-4000-8000-000000000000'})\n"
        "app.send_task('agents.tasks.advance_run', args=['a', 'b', 'c'])\n"
    )
    arena.site.manage("shell", "--no-imports", "-c", code)
    assert arena.ends(arena.submit()) == "succeeded"
    log = arena.site.processes["worker"].log_text()
    assert "is no run" in log


@pytest.mark.parametrize(
    "point", ["claim.before_commit", "answer.before_commit", "intent.before_commit", "outcome.before_commit"]
)
@pytest.mark.slow
def test_29_a_connection_dropped_in_mid_transaction_leaves_nothing_half_written(arena: Arena, point: str) -> None:
    arena.arm(point, "drop_conn")
    run = arena.submit()
    assert arena.ends(run, within=90) == "succeeded"
    assert arena.taken(point)
    assert effects(arena.journal)["effect", arena.keys[run]] == 1


@pytest.mark.slow
def test_29_a_decision_whose_connection_drops_is_503_and_safe_to_repeat(arena: Arena) -> None:
    run = arena.submit()
    arena.waits(run)
    ((gate, tool),) = arena.ask("SELECT id, tool FROM approvals_approvalgate WHERE run_id = %s", run)
    arena.arm("decide.before_commit", "drop_conn")
    answer = arena.person("rita").decide({"id": str(gate), "tool": tool}, "approve")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")
    assert arena.ask("SELECT count(*) FROM approvals_decision WHERE gate_id = %s", gate) == [(0,)]
    assert arena.ends(run) == "succeeded"


@pytest.mark.slow
def test_31_32_and_33_a_database_that_is_away_is_503_and_comes_back(arena: Arena) -> None:
    run = arena.submit()
    arena.waits(run)
    rita = arena.person("rita")
    arena.database.refusing = True
    arena.database.cut()
    answer = rita.client.get("/queue/", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")
    assert "again is safe" in answer.json()["error"]
    arena.database.refusing = False
    eventually(lambda: rita.client.get("/queue/").status_code == 200, within=30, what="the queue")
    arena.terminate_backends()
    assert arena.ends(run) == "succeeded"
    assert arena.ends(arena.submit()) == "succeeded"


@pytest.mark.slow
def test_37_a_read_only_database_refuses_decisions_and_recovers(arena: Arena) -> None:
    run = arena.submit()
    arena.waits(run)
    ((gate, tool),) = arena.ask("SELECT id, tool FROM approvals_approvalgate WHERE run_id = %s", run)
    read_only = 'ALTER DATABASE "{}" SET default_transaction_read_only = {}'
    name = arena.direct.database_url.rsplit("/", 1)[1]
    rita = arena.person("rita")
    try:
        arena.ask_outside(read_only.format(name, "on"))
        arena.terminate_backends()
        assert rita.client.get(f"/queue/{gate}/").status_code == 200, "what only reads is served"
        answer = rita.decide({"id": str(gate), "tool": tool}, "approve")
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5")
        assert arena.ask("SELECT count(*) FROM approvals_decision WHERE gate_id = %s", gate) == [(0,)]
    finally:
        arena.ask_outside(read_only.format(name, "off"))
        arena.terminate_backends()
    assert arena.ends(run) == "succeeded"


@pytest.mark.slow
def test_38_a_slow_database_loses_no_lease(arena: Arena) -> None:
    arena.database.delay = 0.05
    run = arena.submit(linger=4)
    assert arena.ends(run, within=120) == "succeeded"
    arena.database.delay = 0.0
    ((fence, crashes),) = arena.ask("SELECT fence, crashes FROM agents_run WHERE id = %s", run)
    assert (fence, crashes) == (2, 0)
