"""The harness keeps its own promises: a separate environment, own databases, and faults of pages that fail a test."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import connection
from playwright.sync_api import Page

from tests.fixtures.browsers import Complaints
from tests.fixtures.cast import Cast
from tests.fixtures.services import Services, postgres_database, redis_database, with_path


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
