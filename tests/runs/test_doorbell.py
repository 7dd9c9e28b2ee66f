"""The doorbell rings after the commit, and a broken one never fails or holds up a request."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import transaction

from agents import queue
from approvals.signals import gate_decided
from tests.runs.conftest import Bench


def test_nothing_rings_before_the_commit_or_after_a_rollback(bench: Bench) -> None:
    run_id = uuid.uuid4()
    with transaction.atomic():
        queue.wake(run_id)
        assert bench.rung == []
    assert bench.rung == [run_id]
    with transaction.atomic():
        queue.wake(run_id)
        transaction.set_rollback(True)
    assert bench.rung == [run_id]


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_refuses_is_a_log_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refused(_run_id: str, _after: float) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(queue, "_publish", refused)
    queue.wake(uuid.uuid4())
    assert "was not rung (ConnectionRefusedError); the sweep will" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_hangs_holds_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answered = threading.Event()
    with ThreadPoolExecutor(max_workers=1) as ringer:
        monkeypatch.setattr(queue, "_publish", lambda _run_id, _after: answered.wait(30))
        monkeypatch.setattr(queue, "_ringer", lambda _process: ringer)
        started = time.monotonic()
        queue.wake(uuid.uuid4())
        took = time.monotonic() - started
        answered.set()
    assert took < 5
    assert "the broker is slow" in caplog.text


def test_a_decided_gate_rings_for_its_run(bench: Bench) -> None:
    run = bench.go('write_file {"path": "a", "text": "a"}')
    bench.rung.clear()
    with transaction.atomic():
        gate_decided.send(sender=None, gate_id=bench.gate(run).id, run_id=run.id)
    assert bench.rung == [run.id]
