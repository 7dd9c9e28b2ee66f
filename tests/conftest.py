"""The test harness. Fixtures live in `tests/fixtures/`; here is only what holds for all tests."""

from __future__ import annotations

import faulthandler
import signal
import sys

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key
from django.db import connection
from pytest_django import DjangoDbBlocker

from traces import append_only, redactors

pytest_plugins = (
    "tests.fixtures.cast",
    "tests.fixtures.services",
    "tests.fixtures.migrated",
    "tests.fixtures.processes",
    "tests.fixtures.browsers",
)

# A shell starts a job in the background with interrupts ignored, and what is ignored is passed on to every process that
# the tests start: `serve` could then not be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests that share an expensive thing stay on one worker of a parallel run, so that the thing is started once.
GROUPS = {
    "new_page": "browser",
    "page": "browser",
    "browser": "browser",
    "embedded": "embedded",
    "own_embedded": "embedded",
    "stack": "services",
    "own_stack": "services",
    "services": "services",
}

# Fixtures that start the site as processes of their own.
PROCESSES = {"embedded", "own_embedded", "prepared", "stack", "own_stack"}

# Tests that wait for browsers or processes of their own, which a full machine may keep waiting too long: these have one
# second try, and the end of the run names each that needed it. What fails of itself fails twice.
SECOND_TRY = PROCESSES | {"page", "browser", "new_page", "host"}

# A process of the test run that has not ended this long after its last test says where it hangs, and is ended.
ENDS_WITHIN = 120.0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use.

    First of all: xdist reads the groups in a hook of its own, which would otherwise come before this one and find none.
    """
    for item in items:
        # A parameter of a test is no fixture, whatever it is called: many a test is run for each `page`.
        parameters = set(item.callspec.params) if hasattr(item, "callspec") else set()
        names = set(getattr(item, "fixturenames", ())) - parameters
        if names & {"page", "browser", "new_page"}:
            item.add_marker(pytest.mark.browser)
        if "services" in names:
            item.add_marker(pytest.mark.services)
        if names & PROCESSES:
            item.add_marker(pytest.mark.processes)
        if names & SECOND_TRY:
            item.add_marker(pytest.mark.flaky(reruns=1))
        group = next((GROUPS[name] for name in GROUPS if name in names), None)
        if group is not None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:  # noqa: ARG001 - extends it
    """Take the append-only guard off: on SQLite it refuses the DELETE by which transactional tests are cleaned up.

    The tests of the guard put it on again, inside their own transaction.
    """
    with django_db_blocker.unblock():
        append_only.remove(connection)


@pytest.fixture(autouse=True)
def _redactors_of_this_database() -> None:
    """Forget compiled redactors: their key is tenant and version, which the next test gives to other settings."""
    redactors._compiled.cache_clear()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The time limit of a test ends with it; this one covers what comes after the last: exit hooks, other threads."""
    # Pytest's own copy of stderr: the process's may still be captured.
    stderr = session.config.stash.get(fault_handler_stderr_fd_key, sys.stderr.fileno())
    faulthandler.dump_traceback_later(ENDS_WITHIN, exit=True, file=stderr)
