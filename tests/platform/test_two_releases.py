"""A deploy without a pause: processes of this release beside those of a newer one, on one database and one broker.

The newer release is this one with an app that does what a newer one would: its runs need a newer engine, and its
messages carry a word that this release does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.fixtures.compose import command_of
from tests.fixtures.people import Person, no_hold
from tests.fixtures.polling import eventually
from tests.fixtures.processes import Site
from tests.fixtures.services import free_port

NEWER = """
from celery import current_app
from django.apps import AppConfig


class NewerConfig(AppConfig):
    name = "newer_release"

    def ready(self):
        from agents import models

        models.ENGINE = 2
        field = models.Run._meta.get_field("engine")
        field.default = 2
        field.__dict__.pop("_get_default", None)
        send = current_app.send_task

        def newer(name, *args, kwargs=None, **options):
            return send(name, *args, kwargs={**(kwargs or {}), "why": "a word of the newer release"}, **options)

        current_app.send_task = newer
"""
WRITE = 'write_file {"path": "%s.txt", "text": "%s"}'


def query(site: Site, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(site.environment["DATABASE_URL"]) as database:
        return database.execute(sql, parameters).fetchall()


def serves(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, str]:
    """What makes a process one of the newer release."""
    folder = tmp_path / "newer" / "newer_release"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "apps.py").write_text(NEWER, encoding="utf-8")
    return {"ROUTEKIT_APPS": "newer_release", "PYTHONPATH": str(folder.parent)}


def start_newer_web(site: Site, newer: dict[str, str]) -> Site:
    """The newer release's web process beside the old one; the site as its visitors see it."""
    port = free_port()
    environment = {**site.environment, **newer, "WEB_PORT": str(port), "ROUTEKIT_DATABASE_POOL": "4"}
    site.start("newer-web", command_of("web", environment), environment)
    there = replace(site, url=f"http://127.0.0.1:{port}", environment=environment, clients=site.clients)
    eventually(lambda: serves(there.url), within=60, what="the newer web process")
    return there


def start_newer_worker(site: Site, newer: dict[str, str]) -> None:
    environment = {name: value for name, value in site.environment.items() if name != "ROUTEKIT_SIGNING_KEY"}
    command = [*command_of("worker", environment), "--hostname", "newer@%h"]
    site.start("newer-worker", command, {**environment, **newer})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_old_worker_beside_a_newer_web_process(own_stack: Callable[..., Site], newer: dict[str, str]) -> None:
    site = own_stack()
    no_hold(site)
    alice, rita = Person.at(site, "alice"), Person.at(site, "rita")
    old_run = alice.submit(WRITE % ("old", "old"))
    gate = rita.gate_of(old_run, within=60)

    there = start_newer_web(site, newer)
    newer_alice, newer_rita = Person.at(there, "alice"), Person.at(there, "rita")
    newer_run = newer_alice.submit(WRITE % ("newer", "newer"))
    assert query(site, "SELECT engine FROM agents_run WHERE id = %s", newer_run) == [(2,)]

    # What the old release began goes on: decided on the newer page, carried out by the old worker.
    newer_rita.approve(gate)
    newer_alice.run_in(old_run, "succeeded", within=90)
    # So does what the old web process still takes in; by its end the sweep has passed the newer run many times.
    another = alice.submit(WRITE % ("another", "another"))
    newer_rita.approve(rita.gate_of(another, within=60))
    alice.run_in(another, "succeeded", within=90)
    columns = "state, fence, leased_by, started_at"
    assert query(site, f"SELECT {columns} FROM agents_run WHERE id = %s", newer_run) == [("queued", 0, None, None)]
    assert newer_alice.run(newer_run)["state"] == "queued"

    # The deploy goes on with a newer worker: it takes up what waited for it, and the old one stays out of the way.
    # Both take bells from one queue; one that the old worker takes is handed on.
    start_newer_worker(site, newer)
    rita.approve(newer_rita.gate_of(newer_run, within=90))
    newer_alice.run_in(newer_run, "succeeded", within=90)
    attempts = "SELECT max(attempts) FROM agents_toolcall WHERE run_id = ANY(%s::uuid[])"
    assert query(site, attempts, [old_run, another, newer_run]) == [(1,)]

    # The old worker goes. Runs and messages of the old release are the newer one's to finish.
    last = alice.submit(WRITE % ("last", "last"))
    gate = rita.gate_of(last, within=60)
    assert site.processes.pop("worker").stop(within=60) == 0
    rita.approve(gate)
    alice.run_in(last, "succeeded", within=90)
    send = f"current_app.send_task('agents.tasks.advance_run', kwargs={{'run_id': '{last}'}})"
    site.manage("shell", "--no-imports", "-c", f"import routekit_site; from celery import current_app; {send}")

    assert "Traceback" not in site.logs()
    assert "TypeError" not in site.logs()
    for name in ("old", "another", "newer", "last"):
        folder = Path(site.environment["ROUTEKIT_DATA_DIR"]) / "sandboxes" / "acme" / "files-and-web"
        assert (folder / f"{name}.txt").read_text(encoding="utf-8") == name
    assert "acme:" in site.manage("verify_ledger").stdout
