"""The diagrams in the docs are those of the transition tables."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from agents.management.commands import state_diagrams
from approvals.states import TRANSITIONS


def test_the_page_is_up_to_date() -> None:
    call_command("state_diagrams", "--check")


def test_every_move_of_a_gate_is_drawn() -> None:
    page = state_diagrams.PAGE.read_text(encoding="utf-8")
    for (start, move), end in TRANSITIONS.items():
        assert f"    {start.value} --> {end.value} : {move.value}\n" in page


def test_a_page_that_differs_fails_the_check_and_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs" / "states.md"
    monkeypatch.setattr(state_diagrams, "PAGE", page)
    with pytest.raises(CommandError, match="out of date"):
        call_command("state_diagrams", "--check")
    call_command("state_diagrams", stdout=StringIO())
    call_command("state_diagrams", "--check")
    page.write_text(page.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(CommandError, match="run manage"):
        call_command("state_diagrams", "--check")
