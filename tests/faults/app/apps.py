"""An app of the fault tests: it brings tools, and where a test asks for that, it loses every bell."""

from __future__ import annotations

import os

from django.apps import AppConfig

from agents import queue


class FaultsConfig(AppConfig):
    """Where `ROUTEKIT_TEST_LOSE_BELLS` is set, whatever rings for a run but the sweep is not heard."""

    name = "tests.faults.app"

    def ready(self) -> None:
        if os.environ.get("ROUTEKIT_TEST_LOSE_BELLS"):
            queue._publish = lose


def lose(run_id: str, after: float) -> None:
    """Publish nothing."""
