"""Races for a run with real commits on PostgreSQL: workers, a cancel, the kill switch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routekit_site.demo_keys import make_keys
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment
from tests.fixtures.migrated import migrated_database
from tests.fixtures.services import Services

Races = dict[str, Any]

ROUNDS = {"two_workers": 10, "cancel_or_advance": 15, "cancel_or_approve": 25, "halt_or_advance": 10}


@pytest.fixture(scope="module")
def races(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Races:
    """All races, run on a migrated PostgreSQL database of this module's own."""
    directory: Path = tmp_path_factory.mktemp("races")
    with migrated_database(services.database_url) as database_url:
        site = {"DATABASE_URL": database_url, "ROUTEKIT_DATA_DIR": str(directory)}
        environment = clean_environment({**make_keys(), **site, "DJANGO_SETTINGS_MODULE": "routekit_site.settings"})

        def command(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=PROJECT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=280,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        asked = [f"{name}={rounds}" for name, rounds in ROUNDS.items()]
        result = json.loads(command("-m", "tests.runs.race_runner", *asked))
    assert result["vendor"] == "postgresql"
    return {**result["races"], "prepared": result["prepared"]}


@pytest.mark.parametrize("name", ROUNDS)
def test_whoever_wins_nothing_runs_twice_or_unapproved_and_the_trace_is_whole(races: Races, name: str) -> None:
    assert len(races[name]) == ROUNDS[name]
    for played in races[name]:
        assert [side for side in played["sides"] if side.startswith("crash")] == []
        assert played["started"] == played["attempts"]
        if played["started"] or played["written"]:
            assert played["gate"] == "spent"
        assert played["written"] <= (played["attempts"] > 0)
        assert played["fences"] == list(range(1, len(played["fences"]) + 1))
        assert played["numbers"] == list(range(1, len(played["numbers"]) + 1))


def test_of_several_workers_one_takes_the_run(races: Races) -> None:
    for played in races["two_workers"]:
        assert (played["run"], played["fences"], played["written"]) == ("succeeded", [1, 2], True)


def test_a_cancelled_run_either_had_its_effect_or_never_has_it(races: Races) -> None:
    for played in (*races["cancel_or_advance"], *races["cancel_or_approve"]):
        assert played["run"] in {"succeeded", "cancelled"}
        assert played["attempts"] <= 1
        # One that was begun before is left to finish, or killed when that takes long: then it may have had its effect.
        if played["call"] not in {"failed", "unknown"}:
            assert played["written"] == (played["call"] == "succeeded")


def test_a_halted_run_waits_for_the_switch_and_then_goes_on(races: Races) -> None:
    for played in races["halt_or_advance"]:
        assert not played["moved_while_halted"]
        # A tool that the switch killed is a question to a person, or is run again where that is harmless.
        ended = ("waiting", "unknown") if played["call"] == "unknown" else ("succeeded", "succeeded")
        assert (played["run"], played["call"]) == ended


def test_the_hot_statements_are_prepared_whatever_watches_them(races: Races) -> None:
    hot = ('UPDATE "agents_run" SET', 'INSERT INTO "approvals_approvalgate"', 'FOR UPDATE OF "agents_run"')
    assert [text for text in hot if not any(text in statement for statement in races["prepared"])] == []
