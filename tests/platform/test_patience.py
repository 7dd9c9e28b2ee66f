"""How long a process of the site waits for PostgreSQL, on connections as each kind of process opens them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from routekit_site.demo_keys import make_keys
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment
from tests.fixtures.services import Services

ASK = """
import json
import django
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), "
                   "current_setting('idle_in_transaction_session_timeout'), current_setting('work_mem')")
    print(json.dumps([cursor.fetchone(), connection.connection.info.get_parameters()]))
"""


def patience(services: Services, address: str = "", pool: str = "0") -> tuple[list[str], dict[str, str]]:
    """What the server was told, and what libpq was."""
    site = {"DATABASE_URL": services.database_url + address, "ROUTEKIT_DATABASE_POOL": pool}
    environment = clean_environment({**make_keys(), **site, "DJANGO_SETTINGS_MODULE": "routekit_site.settings"})
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True, timeout=200
    )
    server, client = json.loads(done.stdout)
    return server, client


@pytest.mark.parametrize(
    ("pool", "lock", "statement"), [("0", "5s", "0"), ("2", "2s", "30s")], ids=["worker", "web tier"]
)
def test_nobody_waits_for_ever(services: Services, pool: str, lock: str, statement: str) -> None:
    server, client = patience(services, pool=pool)
    assert server[:3] == [lock, statement, "15s"]
    assert (client["connect_timeout"], client["keepalives_idle"], client["tcp_user_timeout"]) == ("5", "5", "15000")


def test_what_the_address_asks_for_wins(services: Services) -> None:
    address = "?options=-c%20lock_timeout%3D700%20-c%20work_mem%3D5MB&connect_timeout=9"
    server, client = patience(services, address)
    assert (server[0], server[2], server[3]) == ("700ms", "15s", "5MB")
    assert client["connect_timeout"] == "9"
