"""Figures of agents and of runs, the peers' own trace cases, and two runs' timelines beside each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from routekit_site.tenancy.models import Tenant, User
from tests.fixtures.cast import Cast
from traces import queries, recorder
from traces.analysis import analysis_of
from traces.kinds import EventKind
from traces.models import EncryptionPolicy, Trace
from traces.timeline import run_timeline

ClientOf = Callable[[User], Client]
SYNTHETIC: list[tuple[EventKind, int, dict[str, Any]]] = [
    (EventKind.RUN_STARTED, 0, {}),
    (EventKind.MODEL_REQUEST, 1, {}),
    (EventKind.MODEL_RESPONSE, 2, {"input_tokens": 100, "output_tokens": 50}),
    (EventKind.TOOL_STARTED, 3, {"tool": "echo"}),
    (EventKind.TOOL_FINISHED, 4, {"tool": "echo", "state": "succeeded", "result": {"list": [{"Deep": "Needle"}]}}),
    (EventKind.MODEL_REQUEST, 5, {}),
    (EventKind.MODEL_RESPONSE, 6, {"input_tokens": 200, "output_tokens": 100, "finish_reason": "stop"}),
    (EventKind.RUN_FINISHED, 7, {"state": "succeeded"}),
]
WAITED: list[tuple[EventKind, int, dict[str, Any]]] = [
    (EventKind.GATE_OPENED, 10, {"tool": "write_file"}),
    (EventKind.GATE_DECIDED, 40, {"tool": "write_file", "state": "rejected"}),
    (EventKind.MODEL_ERROR, 41, {"kind": "busy"}),
    (EventKind.RUN_FINISHED, 42, {"state": "failed"}),
]


def traced(
    tenant: Tenant, person: User, at: datetime, told: list[tuple[EventKind, int, dict[str, Any]]], agent: str = "Files"
) -> UUID:
    """A run with these events, at seconds after its start."""
    run, gate = uuid4(), uuid4()
    recorder.open_trace(tenant_id=tenant.pk, run_id=run, agent_name=agent, submitter_id=person.pk, prompt="x", now=at)
    for kind, second, payload in told:
        about: dict[str, Any] = {"call_id": "call"} if kind.startswith("tool.") else {}
        about |= {"gate_id": gate} if kind.startswith("gate.") else {}
        recorder.record(run_id=run, kind=kind, payload=payload, now=at + timedelta(seconds=second), **about)
    state = str(told[-1][2]["state"]) if told else "queued"
    recorder.note_summary(
        run_id=run, state=state, finished_at=at, input_tokens=300, output_tokens=150, cost_microdollars=len(told)
    )
    return run


def test_the_peers_synthetic_trace_has_the_peers_figures(cast: Cast, now: datetime) -> None:
    """RouteKitAI's own case: 2 model calls, 1 tool call, 3 steps, 450/300/150 tokens, no error."""
    timeline = run_timeline(traced(cast.acme, cast.alice, now, SYNTHETIC))
    figures = timeline.figures
    assert (figures.model_calls, figures.tool_calls, figures.steps, figures.errors) == (2, 1, 3, 0)
    assert (figures.total_tokens, figures.input_tokens, figures.output_tokens) == (450, 300, 150)
    kinds = [line.event.kind for step in timeline.steps for line in step.lines]
    assert kinds[0] == EventKind.RUN_SUBMITTED
    assert kinds[-1] == EventKind.RUN_FINISHED
    starts = [bar.interval.start for bar in timeline.bars]
    assert starts[0] == 0
    assert starts == sorted(starts)


def test_an_empty_trace_has_zeros(cast: Cast) -> None:
    timeline = run_timeline(uuid4())
    assert set(vars(timeline.figures).values()) == {0}
    assert not timeline.bars
    assert not timeline.steps
    assert analysis_of([cast.acme.pk], days=30, now=timezone.now()).agents == ()


@pytest.mark.parametrize(
    ("term", "found"),
    [("needle", 1), ("NEEDLE", 1), ("deep", 1), ("tool.finished", 1), ("model.error", 0), ("haystack", 0), ("", 1)],
)
def test_search_is_blind_to_case_knows_kinds_and_goes_into_nested_values(
    cast: Cast, now: datetime, term: str, found: int
) -> None:
    traced(cast.acme, cast.alice, now, SYNTHETIC)
    assert queries.matching(Trace.objects.all(), term).count() == found


@pytest.mark.parametrize("sealed", [False, True])
def test_agents_are_summed_up_over_their_runs(cast: Cast, *, sealed: bool) -> None:
    EncryptionPolicy.objects.create(tenant=cast.acme, encrypt_traces=sealed)
    now = timezone.now()
    for told in (SYNTHETIC, WAITED):
        traced(cast.acme, cast.alice, now - timedelta(hours=1), told)
    traced(cast.acme, cast.alice, now - timedelta(hours=1), SYNTHETIC, agent="Web")
    traced(cast.acme, cast.alice, now - timedelta(days=8), SYNTHETIC, agent="Long ago")
    traced(cast.globex, cast.carol, now, SYNTHETIC, agent="Not ours")
    found = analysis_of([cast.acme.pk], days=7, now=now)
    assert [(each.agent, each.runs, each.succeeded) for each in found.agents] == [("Files", 2, 1), ("Web", 1, 1)]
    files = found.agents[0]
    assert (files.steps, files.model_calls, files.tool_calls, files.errors) == (3, 2, 1, 1)
    assert (files.input_tokens, files.output_tokens, files.cost_microdollars) == (600, 300, 12)
    assert (files.worked_seconds, files.waited_seconds, files.waited_share) == (3.0, 30.0, 91)
    assert not found.capped


def test_the_page_costs_the_same_with_more_runs(cast: Cast, client_of: ClientOf) -> None:
    client, counts = client_of(cast.adam), []
    for _ in range(2):
        traced(cast.acme, cast.alice, timezone.now(), SYNTHETIC)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            page = client.get("/admin/traces/trace/analysis/?days=1")
        counts.append(len(captured))
    assert page.status_code == 200
    assert "All 2 runs of the last 1 day" in page.content.decode()
    assert counts[0] == counts[1]


def test_only_who_reads_traces_sees_it_and_odd_periods_are_the_default(cast: Cast, client_of: ClientOf) -> None:
    page = "/admin/traces/trace/analysis/"
    codes = {person.username: client_of(person).get(page).status_code for person in (cast.adam, cast.audra)}
    assert codes == {"adam": 200, "audra": 200}
    for person in (cast.alice, cast.rita, cast.oscar):
        assert client_of(person).get(page).status_code in {302, 403, 404}
    for odd in ("0", "-1", "many", "99999999999999"):
        assert client_of(cast.adam).get(f"{page}?days={odd}").context["days"] == 7


def test_two_runs_are_shown_with_both_timelines(cast: Cast, client_of: ClientOf, now: datetime) -> None:
    one, other = (traced(cast.acme, cast.alice, now, told) for told in (SYNTHETIC, WAITED))
    page = client_of(cast.adam).get(f"/admin/traces/trace/{one}/compare/?with={other}").content.decode()
    assert page.count('class="waterfall"') == 2
    assert page.count('id="hatch1"') == page.count('id="hatch2"') == 1
