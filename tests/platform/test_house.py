"""The page of the house names every room there is, and the import contract knows every room of the floors."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from routekit_site.management.commands import house_rooms
from tests.fixtures.compose import PROJECT


def test_a_room_that_is_missing_is_noticed_and_written(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path_factory.mktemp("docs") / "house.md"
    whole = house_rooms.PAGE.read_text(encoding="utf-8")
    page.write_text(whole.replace("| `gates.py` |", "| `elsewhere.py` |"), encoding="utf-8")
    monkeypatch.setattr(house_rooms, "PAGE", page)
    with pytest.raises(CommandError, match="out of date"):
        call_command("house_rooms", "--check")
    call_command("house_rooms")
    assert "| `gates.py` | " in page.read_text(encoding="utf-8")
    call_command("house_rooms", "--check")


def test_every_room_says_what_it_holds() -> None:
    silent = [
        f"{folder}/{name}"
        for folder, _ in house_rooms.FLOORS
        for name, text in house_rooms.rooms_of(PROJECT / folder)
        if not text
    ]
    assert silent == []
