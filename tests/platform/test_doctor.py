"""`manage.py doctor` names what is wrong and what to do; each thing that it looks at is broken once."""

from __future__ import annotations

import re
import subprocess
import sys
from base64 import b64encode
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from pytest_django import Settings

from agents.models import Run
from approvals.models import ToolAllowance
from routekit_site import doctor
from routekit_site.demo_keys import make_keys
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.heartbeats import SWEEP, mark
from routekit_site.tenancy.models import Membership
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment
from tests.fixtures.services import free_port, missing
from tests.runs.conftest import Bench, bench, rung

__all__ = ["bench", "rung"]


@pytest.fixture(autouse=True)
def healthy(bench: Bench, settings: Settings) -> None:  # noqa: ARG001 - the site
    """A site in which nothing is wrong."""
    mark(SWEEP, database_now(), {"tier": "T2"})
    Path(settings.ROUTEKIT_DATA_DIR).chmod(0o700)


def complaints() -> str:
    out = StringIO()
    with pytest.raises(CommandError, match="wrong"):
        call_command("doctor", stdout=out)
    return out.getvalue()


def test_a_healthy_site_passes(bench: Bench) -> None:
    Membership.objects.get_or_create(user=bench.cast.ada, tenant=bench.cast.globex, defaults={"role": "admin"})
    out = StringIO()
    call_command("doctor", stdout=out)
    assert "Nothing is wrong." in out.getvalue()


def test_a_database_that_is_away_is_said_once_and_soon(tmp_path: Path) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    told = doctor_of(tmp_path, DATABASE_URL=url, ROUTEKIT_DATABASE_POOL="2")
    assert re.findall(r"^WRONG (.*?):", told, re.MULTILINE) == ["database", "data directory"]
    assert "Check DATABASE_URL" in told
    assert "-     agents: not looked at before the database is mended" in told


def test_a_database_without_its_tables_is_said_once(tmp_path: Path) -> None:
    told = doctor_of(tmp_path)
    assert re.findall(r"^WRONG (.*?):", told, re.MULTILINE) == ["migrations"]
    assert "to apply: run manage.py migrate" in told


def doctor_of(folder: Path, **environment: str) -> str:
    """What the command says of an installation that was never started."""
    own = {**make_keys(), "ROUTEKIT_DATA_DIR": str(folder / "var"), **environment}
    given = clean_environment(own)
    command = [sys.executable, "manage.py", "doctor"]
    done = subprocess.run(command, cwd=PROJECT, env=given, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    return done.stdout


def test_the_web_process_may_have_the_data_directory_read_only(tmp_path: Path) -> None:
    nowhere = {
        "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/nothing",
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    assert "WRONG data directory" not in read_only_doctor_of(tmp_path, **make_keys(), **nowhere)
    of_a_worker = {name: value for name, value in make_keys().items() if name != "ROUTEKIT_SIGNING_KEY"}
    assert "can't be written by this user" in read_only_doctor_of(tmp_path, **of_a_worker, **nowhere)
    # With SQLite the database itself lies there.
    assert "can't be written" in read_only_doctor_of(tmp_path, **make_keys(), REDIS_URL=nowhere["REDIS_URL"])


def read_only_doctor_of(folder: Path, **environment: str) -> str:
    """What the command says where its data directory is mounted read-only, as docker-compose.yml does for `web`."""
    data = folder / "var"
    data.mkdir(exist_ok=True, mode=0o700)
    mounted = f'mount --bind "{data}" "{data}" && mount -o remount,bind,ro "{data}" && exec "$@"'
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", mounted, "sh"]
    given = clean_environment(environment | {"ROUTEKIT_DATA_DIR": str(data)})
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        missing("this machine gives no mount namespace, so no folder can be mounted read-only")
    command = [*namespace, sys.executable, "manage.py", "doctor"]
    done = subprocess.run(command, cwd=PROJECT, env=given, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    return done.stdout


def test_a_sweep_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    later = database_now() + timedelta(minutes=5)
    monkeypatch.setattr("routekit_site.health.database_now", lambda: later)
    assert "Start beat and at least one worker" in complaints()


def test_a_data_directory_that_is_open_to_all(settings: Settings) -> None:
    Path(settings.ROUTEKIT_DATA_DIR).chmod(0o755)
    assert "chmod o-rwx" in complaints()


def test_a_data_directory_that_is_missing(settings: Settings, tmp_path: Path) -> None:
    settings.ROUTEKIT_DATA_DIR = tmp_path / "nowhere"
    assert "is no directory" in complaints()


def test_a_signing_key_that_no_worker_trusts(settings: Settings) -> None:
    settings.ROUTEKIT_SIGNING_KEY = b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
    told = complaints()
    assert "nothing that is approved would run" in told
    assert settings.ROUTEKIT_SIGNING_KEY not in told


def test_an_encryption_key_that_is_gone(bench: Bench, settings: Settings) -> None:
    bench.submit("read notes.txt")
    settings.ROUTEKIT_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)
    assert "can't be decrypted" in complaints()


def test_a_value_that_retention_forgot_is_no_lost_key(bench: Bench) -> None:
    run = bench.submit("read notes.txt")
    Run.objects.filter(pk=run.pk).update(prompt_sealed=b"")
    assert dict(doctor.examine())["encryption keys"] == []


def test_clocks_that_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    later = database_now() + timedelta(minutes=10)
    monkeypatch.setattr("routekit_site.doctor.database_now", lambda: later)
    assert "s apart" in complaints()


def test_an_agent_that_cannot_work(bench: Bench) -> None:
    bench.agent.provider = "oracle"
    bench.agent.sandbox = {"filesystem": {"allowed_paths": ["/"]}}
    bench.agent.save()
    told = complaints()
    assert 'no model provider called "oracle"' in told
    assert "its sandbox can't be used" in told


def test_an_allow_list_that_names_no_tool(bench: Bench) -> None:
    ToolAllowance.objects.create(tenant=bench.cast.acme, tool="wriet_file")
    assert "there is no tool called wriet_file" in complaints()


def test_a_tenant_in_which_nobody_can_approve(bench: Bench) -> None:
    Membership.objects.filter(tenant=bench.cast.globex).exclude(role="developer").delete()
    assert "tenant globex: nobody in it can approve" in complaints()


def test_a_run_that_nobody_takes_up(bench: Bench) -> None:
    run = bench.submit("read notes.txt")
    Run.objects.filter(pk=run.pk).update(created_at=database_now() - timedelta(hours=1), prompt_sealed=seal("x"))
    assert "1 could go on and nobody takes them up" in complaints()
