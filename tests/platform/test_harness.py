"""The harness keeps its own promises: a separate environment, own databases, and faults of pages that fail a test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection
from playwright.sync_api import Page

from tests.fixtures.browsers import Complaints
from tests.fixtures.cast import Cast
from tests.fixtures.compose import PROJECT
from tests.fixtures.polling import eventually
from tests.fixtures.services import Services, flush_claimed, own_redis, postgres_database, redis_database, with_path


def test_tests_run_outside_demo_mode_with_keys_of_their_own() -> None:
    assert settings.DEMO is False
    assert settings.ROUTEKIT_SIGNING_KEY
    assert settings.REDIS_URL is None


def test_the_in_process_database_is_a_file_in_wal_mode(cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
    assert cast.alice.memberships.get().tenant == cast.acme


def test_services_are_real_and_of_this_run(services: Services) -> None:
    with psycopg.connect(services.database_url) as database:
        name = database.execute("SELECT current_database()").fetchone()
    assert name is not None
    assert name[0].startswith("routekit_test_")


def test_the_tests_of_a_group_stay_together(request: pytest.FixtureRequest, services: Services) -> None:
    assert services.database_url
    shared_out = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.partition("@")[2] == ("services" if shared_out else "")


@pytest.mark.parametrize("page", ["one", "another"])
def test_a_parameter_that_is_named_like_a_fixture_needs_no_browser(request: pytest.FixtureRequest, page: str) -> None:
    assert page
    assert request.node.get_closest_marker("browser") is None


def test_a_made_database_is_dropped_again(services: Services) -> None:
    with postgres_database(services.database_url) as url, psycopg.connect(url) as database:
        database.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"), psycopg.connect(url):
        pass


def test_a_claimed_redis_number_is_never_one_in_use(services: Services) -> None:
    with redis_database(with_path(services.redis_url, "0")) as first:
        assert first != services.redis_url
        with redis.Redis.from_url(services.redis_url) as client:
            assert client.dbsize() >= 1
    with redis.Redis.from_url(first) as client:
        assert client.dbsize() == 0


CLAIMER = """
import sys, time
import redis
from tests.fixtures.services import flush_claimed, redis_database
with redis_database(sys.argv[1]) as url, redis.Redis.from_url(url) as client:
    client.set("left", "behind")
    flush_claimed(client)
    client.set("left", "behind")
    print(url, flush=True)
    time.sleep(600)
"""


def test_a_redis_number_is_held_as_long_as_its_claimer_lives_and_no_longer() -> None:
    with own_redis() as server:
        argv = [sys.executable, "-c", CLAIMER, server]
        with subprocess.Popen(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as claimer:
            assert claimer.stdout is not None
            theirs = claimer.stdout.readline().strip()
            assert theirs
            with redis_database(server) as mine:
                assert mine != theirs
            claimer.kill()

        def again() -> bool:
            with redis_database(server) as mine, redis.Redis.from_url(mine) as client:
                return mine == theirs and client.get("left") is None

        eventually(again, what="the number of a run that was killed")


def test_a_redis_number_with_somebody_else_s_data_is_left_alone() -> None:
    with own_redis() as server, redis.Redis.from_url(with_path(server, "15")) as client:
        client.set("somebody", "else's")
        with redis_database(server) as mine:
            assert mine == with_path(server, "14")
        assert client.get("somebody") == b"else's"


def test_what_a_killed_test_run_left_is_not_thrown_away_while_somebody_else_works_there() -> None:
    with own_redis() as server, redis.Redis.from_url(with_path(server, "15")) as client:
        flush_claimed(client)
        client.set("somebody", "else's")
        with redis_database(server) as mine:
            assert mine == with_path(server, "14")
        assert client.get("somebody") == b"else's"


def test_a_console_error_is_a_complaint(new_page: Callable[..., Page], complaints: Complaints) -> None:
    complaints.expect("a fault made on purpose")
    page = new_page()
    page.goto("about:blank")
    page.evaluate("console.error('a fault made on purpose')")
    page.evaluate("console.log('no fault')")
    assert len(complaints) == 1
    assert complaints.unexpected() == []
    complaints.append("another")
    assert complaints.unexpected() == ["another"]
    complaints.clear()
