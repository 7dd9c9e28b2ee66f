"""`manage.py serve`: listens on loopback only, says in one line what is in the way, stops cleanly, starts again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.fixtures.compose import PROJECT
from tests.fixtures.people import Person
from tests.fixtures.processes import Site, prepare_embedded

SERVE = [sys.executable, "manage.py", "serve"]
# The promise is two seconds; a machine that runs other tests meanwhile is given more before the test gives up.
STOPS_WITHIN = 60.0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A demo site that is migrated and loaded, but not running."""
    return prepare_embedded(tmp_path_factory.mktemp("serve"))


def refused(site: Site, *arguments: str, **environment: str) -> str:
    """Start it where it must not start; what it said, which is one line."""
    done = subprocess.run(
        [*SERVE, *arguments],
        cwd=PROJECT,
        env={**site.environment, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("bind", ["0.0.0.0:8099", "[::]:8099"])
def test_demo_mode_is_served_to_this_machine_only(prepared: Site, bind: str) -> None:
    assert "demo mode serves only this machine" in refused(prepared, "--bind", bind)
    assert "ROUTEKIT_BIND: demo mode serves only this machine" in refused(prepared, ROUTEKIT_BIND=bind)


def test_a_taken_port_is_said_in_one_line(prepared: Site) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = refused(prepared, "--bind", f"127.0.0.1:{other.getsockname()[1]}")
    assert "address already in use" in said
    assert "ROUTEKIT_BIND=" in said


def test_a_database_that_is_behind_is_said_in_one_line(prepared: Site, tmp_path: Path) -> None:
    assert "run manage.py migrate" in refused(prepared, ROUTEKIT_DATA_DIR=str(tmp_path))


def test_services_and_one_process_are_not_mixed(prepared: Site) -> None:
    assert "REDIS_URL is set" in refused(prepared, REDIS_URL="redis://127.0.0.1:6379/15")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_starts_again(own_embedded: Callable[..., Site], how: signal.Signals) -> None:
    site = own_embedded()
    first = site.processes["serve"]
    assert site.url in first.log_text()
    assert "routekit-demo" in first.log_text()
    alice = Person.at(site, "alice")
    run_id = alice.submit("read notes.txt")
    first.popen.send_signal(how)
    assert first.popen.wait(timeout=STOPS_WITHIN) == 0
    assert "Traceback" not in first.log_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{site.url}/healthz", timeout=5)
    site.start("serve", SERVE)
    site.wait_until_ready()
    rita = Person.at(site, "rita")
    rita.approve(rita.gate_of(run_id))
    Person.at(site, "alice").run_in(run_id, "succeeded")


def test_loading_the_demo_again_changes_nothing(prepared: Site) -> None:
    count = (
        "from django.apps import apps; print({m.__name__: m.objects.count() for m in apps.get_models() "
        "if m._meta.app_label in ('tenancy', 'approvals', 'agents')})"
    )
    before = prepared.manage("shell", "--no-imports", "-c", count).stdout
    prepared.manage("load_demo")
    assert prepared.manage("shell", "--no-imports", "-c", count).stdout == before


def test_outside_demo_mode_the_demo_needs_a_password(prepared: Site) -> None:
    keys = prepared.environment | {"ROUTEKIT_DEMO": "0", "ROUTEKIT_SECRET_KEY": "x" * 40}
    done = subprocess.run(
        [sys.executable, "-m", "routekit_site.make_keys"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    keys |= dict(line.split("=", 1) for line in done.stdout.splitlines())
    said = subprocess.run(
        [sys.executable, "manage.py", "load_demo"], cwd=PROJECT, env=keys, capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert "give --password" in said.stderr
