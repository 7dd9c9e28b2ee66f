"""The site's settings under an environment of the test run's own: fresh keys, its own data directory, no demo mode."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from routekit_site.demo_keys import make_keys

# What the caller gave for the real-services tests is kept under another name: nothing but those tests may use it.
for _name in ("DATABASE_URL", "REDIS_URL"):
    _given = os.environ.pop(_name, None)
    if _given:
        os.environ.setdefault(f"ROUTEKIT_TEST_{_name}", _given)
for _name in list(os.environ):
    if _name.startswith(("ROUTEKIT_", "OPENAI_")) and not _name.startswith("ROUTEKIT_TEST_"):
        del os.environ[_name]

_data_dir = tempfile.mkdtemp(prefix="routekit-test-")
atexit.register(shutil.rmtree, _data_dir, ignore_errors=True)
os.environ.update(make_keys())
os.environ["ROUTEKIT_DATA_DIR"] = _data_dir
os.environ["ROUTEKIT_HTTPS"] = "false"
os.environ["ROUTEKIT_SANDBOX_REQUIRE"] = "kernel"

from routekit_site.settings import *  # noqa: E402, F403 - the environment above comes first
from routekit_site.settings import DATABASES, TEMPLATES  # noqa: E402 - changed below

# A file, not shared memory: threads then see what production's SQLite shows them, locks included. What survives a
# power cut is tested with the site's own processes, so the in-process tests needn't wait for the disk.
DATABASES["default"]["TEST"] = {"NAME": str(Path(_data_dir) / "test.sqlite3")}
DATABASES["default"]["OPTIONS"] = {
    **DATABASES["default"]["OPTIONS"],
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
}
# What measures the coverage of templates reads the lines that Django keeps for its debug pages.
_template_options: Any = TEMPLATES[0]["OPTIONS"]
_template_options["debug"] = "coverage" in sys.modules
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]
