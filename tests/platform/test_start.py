"""What a process of the site loads when it starts, and what it leaves until it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from routekit_site.demo_keys import make_keys
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment

START = """
import json
import sys
import django
django.setup()
from celery.signals import worker_init
from agents import tasks

def loaded():
    return [name for name in ("openai",) if name in sys.modules]

begins = loaded()
worker_init.send(sender=None)
print(json.dumps([begins, loaded()]))
"""


@pytest.mark.parametrize(("key", "asks"), [({}, []), ({"OPENAI_API_KEY": "key-of-the-tests"}, ["openai"])])
def test_a_process_loads_the_client_of_models_only_if_it_is_to_ask_them(
    key: dict[str, str], asks: list[str], tmp_path: Path
) -> None:
    site = {"DJANGO_SETTINGS_MODULE": "routekit_site.settings", "ROUTEKIT_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", START],
        cwd=PROJECT,
        env=clean_environment({**make_keys(), **site, **key}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == [[], asks]
