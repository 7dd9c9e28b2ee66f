"""How the sandbox's processes are started: our interpreter, isolated, with none of our environment."""

from __future__ import annotations

import sys
from pathlib import Path

# Run before everything else. httpx imports its command line, with click, rich and pygments, when it finds them: memory
# that every fork would copy the page tables of.
BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); sys.modules['click'] = None; import httpx; "
    "del sys.modules['click']; "
)
ENVIRONMENT = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC", "HOME": "/"}


def clean_environment(**more: str) -> dict[str, str]:
    """The whole environment of a sandbox process. Nothing is taken over from ours."""
    return {**ENVIRONMENT, **more}


def python() -> str:
    """This interpreter."""
    return sys.executable


def code_path() -> list[str]:
    """Where a sandbox process may import from: this process's path, folders only, with the project first."""
    project = str(Path(__file__).resolve().parents[2])
    found = [project, *(str(Path(p).resolve()) for p in sys.path if p and Path(p).is_dir())]
    return list(dict.fromkeys(found))
