"""The garbage collector of a web process walks what came after the start, not the site itself."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment

COUNTS = """
import gc, json
from routekit_site.asgi import application
print(json.dumps({"walked": len(gc.get_objects()), "left alone": gc.get_freeze_count()}))
"""


def test_what_was_loaded_is_out_of_the_collectors_sight() -> None:
    found = subprocess.run(
        [sys.executable, "-c", COUNTS],
        cwd=PROJECT,
        env=clean_environment({"DJANGO_SETTINGS_MODULE": "tests.settings"}),
        capture_output=True,
        text=True,
        check=True,
    )
    counts = json.loads(found.stdout)
    assert counts["left alone"] > 100_000
    assert counts["walked"] < counts["left alone"] / 100
