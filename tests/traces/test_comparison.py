"""Two runs side by side: every divergence of their tool calls is listed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from traces import recorder
from traces.comparison import Divergence, divergences
from traces.intervals import Event
from traces.kinds import EventKind

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
Told = tuple[str, dict[str, Any], str, str]

READ: Told = ("read_file", {"path": "a"}, "allow", "succeeded")
WRITE: Told = ("write_file", {"path": "b"}, "needs_approval", "succeeded")


def events_of(*calls: Told) -> list[Event]:
    """A run that proposed these calls, each in a reply of its own."""
    found: list[Event] = []
    for number, (tool, arguments, verdict, outcome) in enumerate(calls):
        about: dict[str, Any] = {"call_id": f"c{number}", "at": NOW}
        proposed = {"calls": [{"tool": tool, "arguments": arguments}]}
        found += [
            Event(number=0, kind=EventKind.MODEL_RESPONSE, at=NOW, payload=proposed),
            Event(number=0, kind=EventKind.POLICY_VERDICT, payload={"verdict": verdict}, **about),
            Event(number=0, kind=EventKind.TOOL_FINISHED, payload={"state": outcome}, **about),
        ]
    return found


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ([READ, WRITE], [READ, WRITE], []),
        ([], [], []),
        ([READ, WRITE], [READ], [Divergence("missing", 2, "write_file", "")]),
        ([WRITE], [READ, WRITE], [Divergence("added", 1, "", "read_file")]),
        ([READ], [WRITE], [Divergence("tool", 1, "read_file", "write_file")]),
        (
            [READ],
            [(*READ[:2], "deny", "")],
            [Divergence("verdict", 1, "allow", "deny"), Divergence("outcome", 1, "succeeded", "unknown")],
        ),
        (
            [READ],
            [("read_file", {"path": "z"}, *READ[2:])],
            [Divergence("arguments", 1, '{"path":"a"}', '{"path":"z"}')],
        ),
    ],
)
def test_each_difference_is_named(before: list[Told], after: list[Told], found: list[Divergence]) -> None:
    assert divergences(events_of(*before), events_of(*after)) == found


@given(st.lists(st.sampled_from([READ, WRITE])), st.lists(st.sampled_from([READ, WRITE])))
def test_no_divergence_means_the_same_calls(before: list[Told], after: list[Told]) -> None:
    assert (divergences(events_of(*before), events_of(*after)) == []) == (before == after)


def test_the_admin_compares_two_runs_of_own_tenants_only(
    cast: Cast, client_of: Callable[[User], Client], now: datetime
) -> None:
    def make(who: User, tenant_id: int, path: str) -> UUID:
        run = uuid4()
        recorder.open_trace(tenant_id=tenant_id, run_id=run, agent_name="A", submitter_id=who.pk, prompt="x", now=now)
        payload = {"calls": [{"tool": "read_file", "arguments": {"path": path}}]}
        recorder.record(run_id=run, kind=EventKind.MODEL_RESPONSE, payload=payload, now=now)
        return run

    one, two = make(cast.alice, cast.acme.pk, "a.txt"), make(cast.alice, cast.acme.pk, "b.txt")
    theirs = make(cast.carol, cast.globex.pk, "b.txt")
    client, page = client_of(cast.adam), f"/admin/traces/trace/{one}/compare/"
    shown = client.get(f"{page}?with={two}").content.decode()
    assert "a.txt" in shown
    assert "b.txt" in shown
    assert "The second run repeated the first" in client.get(f"{page}?with={one}").content.decode()
    for other in (theirs, "nonsense", "", uuid4()):
        answer = client.get(f"{page}?with={other}", follow=True)
        assert answer.redirect_chain == [(f"/admin/traces/trace/{one}/change/", 302)]
        assert "There is no trace with that id that you may see." in answer.content.decode()
    assert client.get(f"/admin/traces/trace/{theirs}/compare/?with={one}").status_code == 404
