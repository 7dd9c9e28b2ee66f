"""How the figures are told: one JSON line from each measuring process, one line of text for a person."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
LIMIT = 450.0


def tell(**figures: Any) -> None:
    """The last line of a measuring process: its figures, as JSON."""
    print(json.dumps(figures), flush=True)


def measured(module: str, *arguments: str, environment: Mapping[str, str], limit: float = LIMIT) -> dict[str, Any]:
    """Run one measuring process to its end; its figures, and the machine's load at that time."""
    found = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    if found.returncode:
        raise SystemExit(f"{module} {' '.join(arguments)} failed:\n{found.stdout[-1000:]}\n{found.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return {**figures, "load": round(os.getloadavg()[0], 1)}


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile of at least two values."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def line(what: str, figures: Mapping[str, Any]) -> None:
    """One line for a person."""
    told = "  ".join(f"{name} {_short(value)}" for name, value in figures.items())
    print(f"{what:<44}{told}", flush=True)


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
