"""`manage.py check --deploy` is clean for a production environment, and names each thing that makes it less."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routekit_site.checks import deployment
from routekit_site.demo_keys import make_keys
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment

SOUND: dict[str, Any] = {
    "DEMO": False,
    "SECURE_COOKIES": True,
    "ROUTEKIT_SANDBOX_REQUIRE": "kernel",
    "ROUTEKIT_BIND": "127.0.0.1:8000",
    "DEBUG": False,
    "ALLOWED_HOSTS": ["routekit.example.com"],
}
WRONG: dict[str, dict[str, Any]] = {
    "routekit.W001": {"DEMO": True},
    "routekit.W002": {"SECURE_COOKIES": False},
    "routekit.W003": {"ROUTEKIT_SANDBOX_REQUIRE": "best_effort"},
    "routekit.W004": {"SECURE_COOKIES": False, "ROUTEKIT_BIND": "0.0.0.0:8000"},
    "routekit.W005": {"ROUTEKIT_VERIFY_KEYS": ()},
    "routekit.W006": {"ROUTEKIT_ENCRYPTION_KEYS": ("the same",), "SECRET_KEY": "the same"},
    "routekit.W007": {"DEBUG": True},
    "routekit.W008": {"ALLOWED_HOSTS": ["*"]},
}


def test_production_is_clean(tmp_path: Path) -> None:
    environment = clean_environment({**make_keys(), "ROUTEKIT_DATA_DIR": str(tmp_path)})
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize("check", WRONG)
def test_each_weakness_is_named_with_what_to_do(settings: Any, check: str) -> None:
    for name, value in SOUND.items():
        setattr(settings, name, value)
    assert deployment() == []
    for name, value in WRONG[check].items():
        setattr(settings, name, value)
    found = {message.id: message for message in deployment()}
    assert check in found
    assert found[check].hint
