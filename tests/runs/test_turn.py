"""The tables and the next step, walked by a state machine: whatever happens, in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents import turn
from agents.states import CALL_SETTLED, CALL_TRANSITIONS, RUN_FINISHED, RUN_TRANSITIONS, CallState, RunState
from agents.types import MAX_CRASHES, RuntimeDefaults

BUDGET = turn.RunFacts(
    steps=0, max_steps=4, tokens=0, max_tokens=1000, cost=0, max_cost=1000, worked=0, max_worked=60_000
)


@pytest.mark.parametrize("end", ["", ".", "!", "?"])
def test_what_the_model_is_told_is_in_whole_sentences(end: str) -> None:
    for words in (turn.words_for_denied, turn.words_for_invalid, turn.words_for_rejected):
        told = words(f"it does not do{end}")
        assert f"it does not do{end or '.'} " in told
        assert ".." not in told


@dataclass
class Call:
    """A call as the machine knows it. `asked` counts the decisions for it, `runs` how often it was started."""

    name: str
    idempotent: bool
    state: CallState = CallState.PROPOSED
    gate: str = ""
    approvals: int = 0
    runs: int = 0
    history: list[CallState] = field(default_factory=list)

    def move(self, state: CallState) -> None:
        assert (self.state, state) in CALL_TRANSITIONS, f"{self.state} -> {state}"
        self.history.append(self.state)
        self.state = state


class Runs(RuleBasedStateMachine):
    """One run, its worker, its reviewers and its bad luck."""

    @initialize()
    def begin(self) -> None:
        self.state = RunState.QUEUED
        self.facts = BUDGET
        self.reply: turn.ReplyFacts | None = None
        self.calls: list[Call] = []
        self.alive = False

    def move(self, state: RunState) -> None:
        assert (self.state, state) in RUN_TRANSITIONS, f"{self.state} -> {state}"
        self.state = state

    def standing(self) -> tuple[turn.CallStanding, ...]:
        return tuple(turn.CallStanding(call.name, call.state, undecided=call.gate == "pending") for call in self.calls)

    def named(self, names: tuple[str, ...]) -> list[Call]:
        return [call for call in self.calls if call.name in names]

    @precondition(lambda self: self.state is RunState.QUEUED)
    @rule()
    def claim(self) -> None:
        self.move(RunState.RUNNING)
        self.alive = True

    @precondition(lambda self: self.state is RunState.WAITING)
    @rule()
    def resume(self) -> None:
        if any(call.gate == "pending" for call in self.calls):
            return
        self.move(RunState.RUNNING)
        self.alive = True

    @precondition(lambda self: self.state is RunState.RUNNING and self.alive)
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        step = turn.next_step(self.facts, self.reply, self.standing())
        match step:
            case turn.AskModel():
                self.ask(data)
            case turn.Recover(names):
                self.recover(self.named(names))
            case turn.Start(names):
                for call in self.named(names):
                    self.start(call)
            case turn.Settle(names):
                for call in self.named(names):
                    self.settle(call)
            case turn.Suspend():
                self.move(RunState.WAITING)
                self.alive = False
            case turn.Finish(state):
                self.finish(state)

    def recover(self, calls: list[Call]) -> None:
        for call in calls:
            call.move(CallState.UNKNOWN)
            if call.idempotent:
                call.move(CallState.PERMITTED)
            else:
                call.gate = "pending"

    def ask(self, data: st.DataObject) -> None:
        assert all(call.state in CALL_SETTLED for call in self.calls), "the model is asked only when all is settled"
        wanted = data.draw(st.lists(st.sampled_from(["deny", "allow", "ask"]), max_size=3))
        self.reply = turn.ReplyFacts("tool_calls" if wanted else "stop", "text")
        self.facts = replace(self.facts, steps=self.facts.steps + 1, crashes=0)
        self.calls = []
        for position, verdict in enumerate(wanted):
            call = Call(f"{self.facts.steps}.{position}", idempotent=data.draw(st.booleans()))
            states = {"deny": CallState.DENIED, "allow": CallState.PERMITTED, "ask": CallState.GATED}
            call.move(states[verdict])
            call.gate = "pending" if verdict == "ask" else ""
            self.calls.append(call)

    def start(self, call: Call) -> None:
        call.move(CallState.RUNNING)
        call.runs += 1

    def settle(self, call: Call) -> None:
        if call.gate == "approved":
            call.gate = "spent"
            call.approvals += 1
            call.move(CallState.PERMITTED)
            self.start(call)
        else:
            call.move(CallState.FAILED if call.state is CallState.UNKNOWN else CallState.REJECTED)

    @precondition(lambda self: self.alive and any(call.state is CallState.RUNNING for call in self.calls))
    @rule(outcome=st.sampled_from([CallState.SUCCEEDED, CallState.FAILED]))
    def tool_ends(self, outcome: CallState) -> None:
        next(call for call in self.calls if call.state is CallState.RUNNING).move(outcome)

    @precondition(lambda self: self.alive)
    @rule()
    def worker_dies(self) -> None:
        self.alive = False

    @precondition(lambda self: self.state is RunState.RUNNING and not self.alive)
    @rule()
    def lease_runs_out(self) -> None:
        self.facts = replace(self.facts, crashes=self.facts.crashes + 1)
        self.alive = True

    @precondition(lambda self: any(call.gate == "pending" for call in self.calls))
    @rule(answer=st.sampled_from(["approved", "refused"]))
    def decide(self, answer: str) -> None:
        next(call for call in self.calls if call.gate == "pending").gate = answer

    @precondition(lambda self: self.state not in RUN_FINISHED)
    @rule()
    def cancel(self) -> None:
        self.facts = replace(self.facts, cancelled=True)
        if self.state is not RunState.RUNNING:
            self.finish(RunState.CANCELLED)

    @precondition(lambda self: self.state in RUN_FINISHED)
    @rule()
    def a_late_bell_rings(self) -> None:
        assert not [move for move in RUN_TRANSITIONS if move[0] is self.state]

    def finish(self, state: RunState) -> None:
        self.move(state)
        self.alive = False
        for call in self.calls:
            call.gate = ""
            if call.state is CallState.RUNNING:
                call.move(CallState.UNKNOWN)
            elif call.state not in CALL_SETTLED and call.state is not CallState.UNKNOWN:
                call.move(CallState.WITHDRAWN)

    @invariant()
    def nothing_runs_twice_unasked(self) -> None:
        for call in getattr(self, "calls", []):
            if not call.idempotent and call.runs > 1:
                assert call.approvals >= call.runs - 1, f"{call.name} ran {call.runs} times"

    @invariant()
    def nothing_is_stuck(self) -> None:
        if getattr(self, "state", None) is RunState.WAITING:
            step = turn.next_step(self.facts, self.reply, self.standing())
            assert isinstance(step, turn.Suspend) == any(call.gate == "pending" for call in self.calls)

    @invariant()
    def a_finished_run_has_nothing_open(self) -> None:
        if getattr(self, "state", None) in RUN_FINISHED:
            assert all(call.state in CALL_SETTLED or call.state is CallState.UNKNOWN for call in self.calls)


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_cancelling_beats_everything() -> None:
    calls = tuple(turn.CallStanding(state, state, undecided=True) for state in CallState)
    step = turn.next_step(replace(BUDGET, cancelled=True, crashes=9, worked=10**9), None, calls)
    assert isinstance(step, turn.Finish)
    assert step.state is RunState.CANCELLED


def test_lost_calls_are_sorted_out_before_the_time_is_up() -> None:
    lost = (turn.CallStanding("a", CallState.RUNNING),)
    assert turn.next_step(replace(BUDGET, worked=10**9), None, lost) == turn.Recover(("a",))


def test_a_run_is_given_up_after_crashes() -> None:
    step = turn.next_step(replace(BUDGET, crashes=MAX_CRASHES), None, ())
    assert isinstance(step, turn.Finish)
    assert step.kind == "crashed"


@pytest.mark.parametrize("table", [RUN_TRANSITIONS, CALL_TRANSITIONS])
def test_what_is_over_stays_over(table: frozenset[tuple[str, str]]) -> None:
    over = {*RUN_FINISHED, *CALL_SETTLED}
    assert not [move for move in table if move[0] in over]


def test_pauses_double_up_to_a_minute() -> None:
    defaults = RuntimeDefaults()
    for attempt, full in enumerate([1, 2, 4, 8, 16, 32, 60, 60]):
        assert full * 0.75 <= defaults.delay(attempt) <= full
    assert defaults.delay(0, retry_after=7) == 7
    assert defaults.delay(0, retry_after=3600) == 60
    assert defaults.delay(10**6) <= 60
