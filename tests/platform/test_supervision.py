"""A thread that must live is started again when it dies, and its state can be seen meanwhile."""

from __future__ import annotations

import logging
import threading

import pytest

from routekit_site import supervision
from routekit_site.supervision import Supervised, standings
from tests.fixtures.polling import eventually


class Patient:
    """Work that the test lets die or go on."""

    def __init__(self) -> None:
        self.started = 0
        self.orders: list[Exception | None] = []
        self.ordered = threading.Semaphore(0)

    def order(self, what: Exception | None) -> None:
        self.orders.append(what)
        self.ordered.release()

    def work(self) -> None:
        self.started += 1
        self.ordered.acquire()
        what = self.orders.pop(0)
        if what is not None:
            raise what


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Patient:
    monkeypatch.setattr(supervision, "RESTART_AFTER", 0.01)
    return Patient()


@pytest.mark.parametrize("end", [ValueError("with a secret in its text"), None], ids=["raises", "returns"])
def test_work_that_ends_is_started_again(
    end: Exception | None, patient: Patient, caplog: pytest.LogCaptureFixture
) -> None:
    supervised = Supervised("patient", patient.work)
    supervised.start()
    eventually(lambda: patient.started == 1)
    with caplog.at_level(logging.CRITICAL, logger="routekit_site.supervision"):
        patient.order(end)
        eventually(lambda: patient.started == 2)
    assert supervised.standing() == supervision.Standing("patient", working=True, restarts=1)
    assert supervised.standing() in standings()
    assert "started again" in caplog.text
    assert "secret" not in caplog.text
    supervised.stop()
    patient.order(None)
    assert supervised.join(5)
    assert supervised.standing() not in standings()
    assert patient.started == 2
