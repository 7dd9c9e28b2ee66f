"""Who sees and cancels which run."""

from __future__ import annotations

import pytest

from agents import runs
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from tests.runs.conftest import Bench


def test_who_sees_a_run(bench: Bench) -> None:
    cast = bench.cast
    alices, adams = bench.submit("hello"), bench.submit("hello", user=cast.adam)
    sees = {
        name: [runs.can_view_run(getattr(cast, name), run) for run in (alices, adams)]
        for name in ("alice", "rita", "adam", "audra", "carol", "ada", "oscar")
    }
    assert sees == {
        "alice": [True, False],
        "rita": [True, True],
        "adam": [True, True],
        "audra": [True, True],
        "carol": [False, False],
        "ada": [False, False],
        "oscar": [False, False],
    }
    with pytest.raises(NotVisible):
        runs.check_view_run(cast.carol, alices)
    with pytest.raises(NotVisible):
        runs.check_view_run(cast.alice, adams)


def test_lists_show_what_may_be_seen(bench: Bench) -> None:
    cast = bench.cast
    alices, adams = bench.submit("hello"), bench.submit("hello", user=cast.adam)

    def listed(name: str) -> set[object]:
        return set(runs.visible_runs(getattr(cast, name), cast.acme.pk).values_list("pk", flat=True))

    assert listed("alice") == {alices.pk}
    assert listed("rita") == listed("audra") == {alices.pk, adams.pk}
    assert listed("carol") == listed("oscar") == set()


def test_who_cancels_a_run(bench: Bench) -> None:
    cast = bench.cast
    run = bench.submit("hello")
    assert [
        name for name in ("alice", "rita", "adam", "audra", "carol") if runs.can_cancel(getattr(cast, name), run)
    ] == [
        "alice",
        "adam",
    ]
    with pytest.raises(NotAllowed):
        bench.cancel(run, user=cast.rita)
    with pytest.raises(NotVisible):
        bench.cancel(run, user=cast.carol)
    assert bench.fresh(run).cancel_requested_at is None
