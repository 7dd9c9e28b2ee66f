"""Races for a gate with real commits on PostgreSQL: one winner each time, and the loser is told who it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from routekit_site.demo_keys import make_keys
from tests.fixtures.compose import PROJECT
from tests.fixtures.environment import clean_environment
from tests.fixtures.migrated import migrated_database
from tests.fixtures.services import Services

Races = dict[str, list[dict[str, Any]]]

ROUNDS = {
    "two_deciders": 200,
    "two_browsers": 40,
    "decide_or_take_back": 20,
    "decide_or_remove": 40,
    "two_admins": 20,
    "decide_or_renew": 10,
    "around_a_decision": 10,
    "decide_or_withdraw": 40,
    "decide_or_edit": 40,
    "decide_or_expire": 40,
    "same_form_five_times": 10,
    "one_key_two_gates": 20,
    "both_of_two": 20,
    "undo_or_redeem": 40,
    "two_redeemers": 40,
    "last_uses": 10,
    "storm": 10,
}


@pytest.fixture(scope="module")
def races(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Races:
    """All races, run on a migrated PostgreSQL database of this module's own."""
    directory: Path = tmp_path_factory.mktemp("races")
    with migrated_database(services.database_url) as database_url:
        site = {"DATABASE_URL": database_url, "ROUTEKIT_DATA_DIR": str(directory)}
        site["ROUTEKIT_DECIDE_RATE"] = "10000 per minute"
        settings = {"DJANGO_SETTINGS_MODULE": "routekit_site.settings"}
        environment = clean_environment({**make_keys(), **site, **settings})

        def command(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=PROJECT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=500,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        asked = [f"{name}={rounds}" for name, rounds in ROUNDS.items()]
        result = json.loads(command("-m", "tests.gates.race_runner", *asked))
    assert result["vendor"] == "postgresql"
    return dict(result["races"])


@pytest.mark.parametrize("name", ROUNDS)
def test_no_side_of_a_race_crashes_or_deadlocks(races: Races, name: str) -> None:
    sides = [side for played in races[name] for side in played["sides"]]
    assert len(races[name]) == ROUNDS[name]
    assert [side for side in sides if not ("answer" in side or "error" in side)] == []


def test_of_two_deciders_exactly_one_wins_200_times_and_the_loser_is_told_who(races: Races) -> None:
    names = {"approve": "Rita Example", "reject": "Rolf Example"}
    kinds: Counter[str] = Counter()
    for played in races["two_deciders"]:
        (won,) = (side for side in played["sides"] if "answer" in side)
        (lost,) = (side for side in played["sides"] if "error" in side)
        kind = won["answer"]["kind"]
        state = {"approve": "approved", "reject": "rejected"}[kind]
        kinds[kind] += 1
        assert played["decisions"] == [[names[kind], kind]]
        assert played["state"] == state
        assert lost == {"error": "AlreadyDecided", "winner": names[kind], "state": state}
    assert len(kinds) == 2, f"one side always won, so nothing raced: {kinds}"


def test_of_two_browsers_exactly_one_wins_and_the_loser_reads_who(races: Races) -> None:
    names = {"approved": "Rita Example", "rejected": "Rolf Example"}
    states: Counter[str] = Counter()
    for played in races["two_browsers"]:
        answers = [side["answer"] for side in played["sides"]]
        (won,) = (answer for answer in answers if answer["status"] == 200)
        (lost,) = (answer for answer in answers if answer["status"] == 409)
        states[won["state"]] += 1
        assert lost == {"status": 409, "winner": names[won["state"]], "state": won["state"]}
        assert played["state"] == won["state"]
        assert len(played["decisions"]) == 1
    assert len(states) == 2, f"one side always won, so nothing raced: {states}"


def test_a_call_is_approved_or_taken_back_and_never_both(races: Races) -> None:
    for played in races["decide_or_take_back"]:
        decided, taken = played["sides"]
        if played["state"] == "approved":
            assert taken == {"error": "AlreadyDecided", "winner": "Rita Example", "state": "approved"}
        else:
            assert decided == {"error": "AlreadyDecided", "winner": "Alice Example", "state": "withdrawn"}
            assert (played["state"], played["decisions"]) == ("withdrawn", [])


def test_a_call_is_decided_or_asked_about_anew_and_never_both(races: Races) -> None:
    for played in races["decide_or_renew"]:
        assert (played["state"], played["renewed"]) in {("approved", 0), ("withdrawn", 1)}


def test_what_is_done_around_a_decision_neither_blocks_it_nor_moves_the_gate(races: Races) -> None:
    for played in races["around_a_decision"]:
        assert "answer" in played["sides"][0]
        assert (played["state"], len(played["decisions"])) == ("approved", 1)


def test_a_call_that_is_cancelled_while_it_is_approved_cannot_run(races: Races) -> None:
    for played in races["decide_or_withdraw"]:
        if played["state"] == "withdrawn":
            assert played["sides"][0] == {"error": "AlreadyDecided", "winner": "", "state": "withdrawn"}
            assert played["decisions"] == []
        else:
            assert (played["state"], len(played["decisions"])) == ("lapsed", 1)


def test_a_call_is_approved_or_edited_and_never_both(races: Races) -> None:
    for played in races["decide_or_edit"]:
        decided, edited = played["sides"]
        if played["state"] == "approved":
            assert edited == {"error": "AlreadyDecided", "winner": "Rita Example", "state": "approved"}
            assert (played["edits"], len(played["decisions"])) == (0, 1)
        else:
            assert decided == {"error": "AlreadyDecided", "winner": "Rolf Example", "state": "edited"}
            assert (played["state"], played["edits"], played["decisions"]) == ("withdrawn", 1, [])


def test_a_gate_is_approved_or_it_expires(races: Races) -> None:
    for played in races["decide_or_expire"]:
        decided, expired = played["sides"]
        if played["state"] == "approved":
            assert "answer" in decided
            assert expired == {"answer": 0}
        else:
            assert played == {"sides": [{"error": "Expired"}, {"answer": 1}], "state": "expired", "decisions": []}


def test_one_form_sent_five_times_at_once_is_one_decision_with_five_equal_answers(races: Races) -> None:
    for played in races["same_form_five_times"]:
        assert len({json.dumps(side) for side in played["sides"]}) == 1
        assert "answer" in played["sides"][0]
        assert len(played["decisions"]) == 1


def test_one_key_decides_one_gate(races: Races) -> None:
    for played in races["one_key_two_gates"]:
        assert sorted(side.get("error", "") for side in played["sides"]) == ["", "KeyReused"]
        assert played["states"] == ["approved", "pending"]


def test_two_approvals_at_once_are_two(races: Races) -> None:
    for played in races["both_of_two"]:
        assert all("answer" in side for side in played["sides"])
        assert (played["state"], len(played["decisions"])) == ("approved", 2)


def test_an_approval_is_undone_or_used_and_never_both(races: Races) -> None:
    for played in races["undo_or_redeem"]:
        undone, redeemed = played["sides"]
        if played["state"] == "spent":
            assert (undone, redeemed) == ({"error": "HoldOver"}, {"answer": "Permit"})
        else:
            assert played["state"] == "pending"
            assert (undone, redeemed) == ({"answer": "ApprovalGate"}, {"error": "NotApproved"})


def test_two_workers_get_one_permit(races: Races) -> None:
    for played in races["two_redeemers"]:
        assert sorted(str(side) for side in played["sides"]) == ["{'answer': 'Permit'}", "{'error': 'NotApproved'}"]


def test_a_remembered_approval_is_used_no_more_often_than_it_is_good_for(races: Races) -> None:
    for played in races["last_uses"]:
        assert Counter(str(side) for side in played["sides"]) == {"{'answer': 'used'}": 3, "{'error': 'RuleOver'}": 5}
        assert played["uses"] == 3


def test_deciding_sweeping_and_cancelling_at_once_leaves_every_gate_answered(races: Races) -> None:
    for played in races["storm"]:
        assert set(played["states"]) <= {"approved", "expired", "withdrawn", "lapsed"}


def test_whoever_is_removed_while_deciding_decides_before_it_or_not_at_all(races: Races) -> None:
    for played in races["decide_or_remove"]:
        decided, removed = played["sides"]
        assert removed == {"answer": "removed"}
        if "answer" in decided:
            assert played["state"] == "approved"
            # In the ledger, too, nobody decides after they were removed.
            assert played["told"] == ["decision", "policy_change"]
        else:
            assert decided["error"] == "NotVisible"
            assert (played["state"], played["told"][-1]) == ("pending", "policy_change")


def test_of_two_admins_who_remove_each_other_one_stays(races: Races) -> None:
    for played in races["two_admins"]:
        assert sorted(side["answer"] for side in played["sides"]) == ["refused", "removed"]
        assert played["admins"] == 1
