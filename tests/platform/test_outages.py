"""A database that can't be used: one clear answer, one clear line, nothing half done; and no clock but its own."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import DatabaseError, IntegrityError, InterfaceError, InternalError, OperationalError, connection
from django.test import Client

from agents import runs, tasks
from approvals import notices
from approvals.tasks import tell
from routekit_site.tenancy.models import User
from routekit_site.tenancy.outages import is_outage
from routekit_site.tenancy.sessions import SEEN
from tests.fixtures.cast import Cast
from tests.fixtures.compose import PROJECT
from traces.errors import LedgerWriteFailed

OUTAGES = [
    OperationalError("the connection is lost"),
    OperationalError("database or disk is full"),
    OperationalError("attempt to write a readonly database"),
    InternalError("cannot execute INSERT in a read-only transaction"),
    InterfaceError("connection already closed"),
]


@pytest.mark.parametrize("error", OUTAGES, ids=str)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_page_answers_503_and_says_when_to_come_back(
    cast: Cast, client_of: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch, error: Exception, accept: str
) -> None:
    def away(_user: object, _tenant: int) -> None:
        try:
            raise error
        except DatabaseError as cause:
            raise LedgerWriteFailed from cause
        except InterfaceError:
            raise

    client = client_of(cast.alice)
    client.raise_request_exception = False
    monkeypatch.setattr(runs, "check_submit", away)
    answer = client.get("/jobs/new/", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "again is safe" in answer.content.decode()
    assert str(error) not in answer.content.decode()


def test_a_page_is_read_while_nothing_can_be_written(
    cast: Cast, client_of: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(cast.alice)
    client.raise_request_exception = False
    assert client.get("/jobs/").status_code == 200
    session = client.session
    session[SEEN] -= 120
    session.save()

    def read_only(_store: object, *_arguments: object) -> None:
        raise InternalError("cannot execute UPDATE in a read-only transaction")

    monkeypatch.setattr(DatabaseStore, "save", read_only)
    assert client.get("/jobs/").status_code == 200
    assert "a session's clock was not moved" in caplog.text
    # Whatever else a session is to keep has to be kept, or the request is refused.
    session = client.session
    session["tenant"] = 7
    with pytest.raises(InternalError):
        session.save()


def test_a_mistake_of_ours_is_a_500(
    cast: Cast, client_of: Callable[[User], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_user: object, _tenant: int) -> None:
        raise IntegrityError

    client = client_of(cast.alice)
    client.raise_request_exception = False
    monkeypatch.setattr(runs, "check_submit", broken)
    assert client.get("/jobs/new/").status_code == 500
    assert not is_outage(IntegrityError())
    assert not is_outage(None)


@pytest.mark.django_db
@pytest.mark.parametrize("error", OUTAGES, ids=str)
def test_a_worker_says_one_line_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def away(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(runs, "advance", away)
    monkeypatch.setattr(runs, "sweep", away)
    monkeypatch.setattr(notices, "tell", away)
    with caplog.at_level(logging.WARNING):
        tasks.advance_run(run_id=str(uuid.uuid4()))
        tasks.sweep()
        tell()
    lines = [record.getMessage() for record in caplog.records if record.name == "routekit_site.tenancy.outages"]
    assert len(lines) == 3
    assert all("waits for the next sweep" in line for line in lines)


def test_no_clock_of_a_worker_decides_a_lease_a_hold_or_an_expiry() -> None:
    """The database's time only: whatever moves runs and gates takes `now` from `tenancy.clock`, or is given it."""
    own = re.compile(r"timezone\.now\(|datetime\.now\(|date\.today\(|utcnow\(|time\.time\(")
    for folder in ("agents/runs", "approvals"):
        for path in sorted(Path(PROJECT, folder).rglob("*.py")):
            if {"migrations", "management"} & {*path.parts} or path.name in {"admin.py", "admin_forms.py"}:
                continue
            assert not own.search(path.read_text(encoding="utf-8")), path


@pytest.mark.django_db(transaction=True)
def test_a_worker_keeps_its_file_open_from_task_to_task_until_it_fails() -> None:
    connection.ensure_connection()
    opened = connection.connection
    tasks.sweep()
    assert connection.connection is opened
    connection.errors_occurred = True
    tasks.sweep()
    assert connection.connection is not opened
