"""The hot transactions' statements, on a connection to PostgreSQL as every process of the site opens it."""

from __future__ import annotations

import json
import subprocess
import sys

from routekit_site.demo_keys import make_keys
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment
from tests.fixtures.services import Services

ASK = """
import json
import django
django.setup()
from django.db import connection
from routekit_site.tenancy import slow_queries, statements
slow_queries.SLOW_SECONDS = 0.0
connection.ensure_connection()
rows = [statements.execute("SELECT %s::int + %s::int, '100%%'", [1, number]) for number in (1, 2)]
print(json.dumps({
    "rows": rows,
    "timed": slow_queries.count(),
    "prepared": statements.execute("SELECT statement FROM pg_prepared_statements", []),
}))
"""


def test_a_hot_statement_is_prepared_once_and_timed_like_any_other(services: Services) -> None:
    site = {"DATABASE_URL": services.database_url, "DJANGO_SETTINGS_MODULE": "routekit_site.settings"}
    environment = clean_environment({**make_keys(), **site})
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    answer = json.loads(done.stdout)
    assert answer["rows"] == [[[2, "100%"]], [[3, "100%"]]]
    assert answer["timed"] >= 2
    assert ["SELECT $1::int + $2::int, '100%'"] in answer["prepared"]
