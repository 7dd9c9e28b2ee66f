"""The map of AISVS names every row, and no test that is not there."""

from __future__ import annotations

import re

from tests.fixtures.compose import PROJECT

IDS = {
    *(f"9.1.{n}" for n in range(1, 4)),
    *(f"9.2.{n}" for n in range(1, 12)),
    *(f"9.3.{n}" for n in range(1, 10)),
    *(f"9.4.{n}" for n in range(1, 5)),
    *(f"9.5.{n}" for n in range(1, 8)),
    *(f"9.6.{n}" for n in range(1, 4)),
}
STATES = {"met", "partly", "missing", "not applicable"}
_ROW = re.compile(r"^\| (9\.\d+\.\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def rows() -> list[tuple[str, ...]]:
    return _ROW.findall((PROJECT / "docs/reference/aisvs.md").read_text(encoding="utf-8"))


def test_every_row_stands_in_the_map_once() -> None:
    found = [row[0] for row in rows()]
    assert sorted(found) == sorted(IDS)


def test_a_row_that_is_met_names_a_test_and_each_test_exists() -> None:
    for number, _asks, state, how, tests in rows():
        assert state in STATES, number
        assert len(how) > 5, number
        named = re.findall(r"`(tests/[^`]+)`", tests)
        assert named or state in {"missing", "not applicable"}, number
        for path in named:
            assert (PROJECT / path).is_file(), f"{number}: {path}"


def test_the_threat_model_names_tests_that_exist() -> None:
    text = (PROJECT / "docs/explanation/threat-model.md").read_text(encoding="utf-8")
    for path in re.findall(r"`(tests/[^`]+)`", text):
        assert (PROJECT / path).exists(), path
