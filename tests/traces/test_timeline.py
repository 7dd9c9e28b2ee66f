"""The read side of a trace: figures, step tree, waterfall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.cast import Cast
from traces import recorder
from traces.intervals import Event, IntervalKind, intervals, seconds_in
from traces.kinds import EventKind
from traces.timeline import run_timeline, timeline_of
from traces.waterfall import bars, duration_text, shortens

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def story(*told: tuple[float, EventKind, dict[str, Any]]) -> list[Event]:
    """Events at seconds after the start; "call", "gate" and "actor" of the facts become the event's own."""
    return [
        Event(
            number=number,
            kind=kind,
            at=START + timedelta(seconds=second),
            call_id=facts.pop("call", ""),
            gate_id=facts.pop("gate", ""),
            actor=facts.pop("actor", ""),
            payload=facts,
        )
        for number, (second, kind, facts) in enumerate(told, 1)
    ]


def approved_run() -> list[Event]:
    """Two model calls, one tool call, two minutes of waiting for rita and a hold of five seconds."""
    call = {"call": "c1", "tool": "write_file"}
    gate = {**call, "gate": "g1"}
    return story(
        (0, EventKind.RUN_SUBMITTED, {"prompt": "write"}),
        (1, EventKind.RUN_STARTED, {}),
        (1, EventKind.MODEL_REQUEST, {}),
        (3, EventKind.MODEL_RESPONSE, {"input_tokens": 100, "output_tokens": 50}),
        (3, EventKind.GATE_OPENED, {**gate, "reason": "needs the filesystem"}),
        (3, EventKind.POLICY_VERDICT, {**gate, "verdict": "needs_approval"}),
        (3, EventKind.RUN_WAITING, {}),
        (123, EventKind.GATE_DECIDED, {**gate, "kind": "approve", "state": "approved", "actor": "rita"}),
        (128, EventKind.RUN_RESUMED, {}),
        (128, EventKind.PERMIT_ISSUED, {**gate, "state": "spent"}),
        (128, EventKind.TOOL_STARTED, dict(call)),
        (129, EventKind.TOOL_FINISHED, {**call, "state": "succeeded", "outcome": "ok"}),
        (129, EventKind.MODEL_REQUEST, {}),
        (131, EventKind.MODEL_RESPONSE, {"input_tokens": 200, "output_tokens": 100}),
        (131, EventKind.RUN_FINISHED, {"state": "succeeded"}),
    )


def test_the_figures_of_a_run() -> None:
    figures = timeline_of(uuid4(), approved_run(), START).figures
    assert (figures.model_calls, figures.tool_calls, figures.steps, figures.errors) == (2, 1, 3, 0)
    assert (figures.total_tokens, figures.input_tokens, figures.output_tokens) == (450, 300, 150)
    assert (figures.total_seconds, figures.worked_seconds, figures.waited_seconds) == (131, 5, 120)


def test_an_empty_trace_gives_zeros() -> None:
    timeline = timeline_of(uuid4(), [], START)
    assert timeline.figures.steps == timeline.figures.total_tokens == timeline.figures.errors == 0
    assert (timeline.bars, timeline.steps) == ((), ())


def test_a_wait_names_who_ended_it_and_is_hatched() -> None:
    timeline = timeline_of(uuid4(), approved_run(), START)
    (wait,) = timeline.waits
    assert (wait.label, wait.start, wait.end, wait.note) == ("write_file", 3, 123, "approved by rita")
    hatched = [bar.interval.kind for bar in timeline.bars if bar.hatched]
    assert hatched == [IntervalKind.APPROVAL, IntervalKind.HOLD]


def test_what_goes_on_ends_now_and_says_so() -> None:
    events = approved_run()[:7]
    (wait,) = timeline_of(uuid4(), events, START + timedelta(seconds=63)).waits
    assert (wait.seconds, wait.running) == (60, True)


def test_an_undone_decision_makes_the_gate_wait_again() -> None:
    gate = {"call": "c1", "gate": "g1", "tool": "write_file"}
    found = intervals(
        story(
            (0, EventKind.RUN_SUBMITTED, {}),
            (1, EventKind.GATE_OPENED, dict(gate)),
            (5, EventKind.GATE_DECIDED, {**gate, "kind": "approve", "state": "approved", "actor": "rita"}),
            (7, EventKind.GATE_UNDONE, {**gate, "actor": "rita"}),
            (20, EventKind.GATE_CLOSED, {**gate, "state": "expired"}),
        ),
        START,
    )
    told = [(each.kind.value, each.start, each.end, each.note) for each in found if each.kind != "queued"]
    assert told == [("approval", 1, 5, "approved by rita"), ("hold", 5, 7, ""), ("approval", 7, 20, "expired")]


def test_an_outcome_is_told_in_words() -> None:
    call = {"call": "c1", "tool": "calculator"}
    events = story(
        (0, EventKind.RUN_SUBMITTED, {}),
        (1, EventKind.TOOL_STARTED, dict(call)),
        (3, EventKind.TOOL_FINISHED, {**call, "outcome": "tool_error", "state": "failed"}),
    )
    assert [bar.text for bar in timeline_of(uuid4(), events, START).bars][-1] == "2.0 s, tool error"


def test_a_call_stays_with_the_step_that_proposed_it() -> None:
    steps = timeline_of(uuid4(), approved_run(), START).steps
    assert [step.number for step in steps] == [0, 1, 2]
    (call,) = steps[1].calls
    assert (call.tool, call.gate_id, call.state) == ("write_file", "g1", "succeeded")
    assert len(call.lines) == 6
    assert steps[2].calls == []


@given(st.lists(st.tuples(st.floats(0, 1e6), st.sampled_from(EventKind), st.sampled_from(["a", "b"])), max_size=40))
def test_any_events_give_bars_inside_the_picture_that_start_at_zero_in_order(
    told: list[tuple[float, EventKind, str]],
) -> None:
    events = story(
        (0, EventKind.RUN_SUBMITTED, {}),
        *((second, kind, {"call": who, "gate": who, "tool": "t"}) for second, kind, who in sorted(told)),
    )
    found = intervals(events, START + timedelta(days=20))
    starts = [each.start for each in found]
    assert starts == sorted(starts)
    assert starts[:1] in ([], [0.0])
    placed = bars(found)
    assert all(0 <= bar.x <= bar.x + bar.width <= 100.001 for bar in placed)
    assert [bar.x for bar in placed] == sorted(bar.x for bar in placed) or len(placed) > 1
    assert seconds_in(found) <= max((each.end for each in found), default=0)


def test_a_week_of_waiting_leaves_the_work_visible() -> None:
    week = 7 * 86_400
    call = {"call": "c", "gate": "c", "tool": "t"}
    found = intervals(
        story(
            (0, EventKind.RUN_SUBMITTED, {}),
            (0, EventKind.MODEL_REQUEST, {}),
            (2, EventKind.MODEL_RESPONSE, {}),
            (2, EventKind.GATE_OPENED, dict(call)),
            (week, EventKind.GATE_DECIDED, {**call, "state": "rejected", "kind": "reject"}),
            (week, EventKind.MODEL_REQUEST, {}),
            (week + 2, EventKind.MODEL_RESPONSE, {}),
            (week + 2, EventKind.RUN_FINISHED, {}),
        ),
        START,
    )
    widths = {bar.interval.label: bar.width for bar in bars(found)}
    assert widths["model, call 1"] > 10
    assert widths["t"] > 20
    # The page says so: who reads lengths off the picture would be misled.
    assert shortens(found)
    assert not shortens([each for each in found if each.kind is IntervalKind.MODEL][:1])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.34, "340 ms"), (2.12, "2.1 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_durations_are_written_for_reading(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_recorded_run_is_read_back(cast: Cast, now: datetime) -> None:
    run = uuid4()
    recorder.open_trace(
        tenant_id=cast.acme.pk, run_id=run, agent_name="Files", submitter_id=cast.alice.pk, prompt="hello", now=now
    )
    recorder.record(run_id=run, kind=EventKind.RUN_STARTED, payload={}, now=now + timedelta(seconds=2))
    timeline = run_timeline(run, now)
    assert [line.event.kind for line in timeline.steps[0].lines] == ["run.submitted", "run.started"]
    assert timeline.total_text == "2.0 s"
    assert run_timeline(uuid4()).bars == ()
