"""The pure tables as one machine: whatever workers, people, clocks and crashes do, nothing runs unapproved."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents import turn
from agents.states import CALL_SETTLED, CALL_TRANSITIONS, RUN_FINISHED, RUN_TRANSITIONS, CallState, RunState
from agents.types import MAX_CRASHES
from approvals.states import GateMove, GateState, after


@dataclass
class Call:
    """One call as the machine knows it, with what happened outside of every table."""

    state: CallState
    idempotent: bool
    gate: GateState | None = None
    held: bool = False
    spent: int = 0
    granted: int = 0
    effects: int = 0

    def go(self, state: CallState) -> None:
        assert (self.state, state) in CALL_TRANSITIONS, (self.state, state)
        self.state = state

    def move(self, move: GateMove) -> None:
        assert self.gate is not None
        found = after(self.gate, move)
        assert found is not None, (self.gate, move)
        self.gate = found

    def undecided(self) -> bool:
        return self.gate is GateState.PENDING or self.held


@dataclass
class World:
    """A run and the calls of its present step."""

    state: RunState = RunState.QUEUED
    steps: int = 0
    crashes: int = 0
    cancelled: bool = False
    calls: list[Call] = field(default_factory=list)
    before: list[Call] = field(default_factory=list)

    def go(self, state: RunState) -> None:
        assert (self.state, state) in RUN_TRANSITIONS, (self.state, state)
        self.state = state


class OneRun(RuleBasedStateMachine):
    """Workers that may die at each step, people who decide, clocks that run out, a run that may be called off."""

    @initialize()
    def submitted(self) -> None:
        self.world = World()

    def next(self) -> turn.Step:
        world = self.world
        standing = tuple(
            turn.CallStanding(str(number), call.state, undecided=call.undecided())
            for number, call in enumerate(world.calls)
        )
        facts = turn.RunFacts(world.steps, 4, 0, 10, 0, 10, 0, 10, world.crashes, world.cancelled)
        reply = turn.ReplyFacts("stop", "done") if world.steps else None
        return turn.next_step(facts, reply, standing)

    @precondition(lambda self: self.world.state not in RUN_FINISHED)
    @rule(
        dies=st.booleans(),
        effect=st.booleans(),
        proposals=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=3),
    )
    def work(self, dies: bool, effect: bool, proposals: list[tuple[bool, bool]]) -> None:  # noqa: FBT001 - Hypothesis' way
        world = self.world
        if world.state is RunState.WAITING and any(call.undecided() for call in world.calls):
            return
        if world.state is not RunState.RUNNING:
            world.go(RunState.RUNNING)
        step = self.next()
        match step:
            case turn.AskModel():
                self.answer(proposals)
            case turn.Recover(ids):
                self.recover([world.calls[int(each)] for each in ids])
            case turn.Start(ids):
                self.run([world.calls[int(each)] for each in ids], dies=dies, effect=effect)
            case turn.Settle(ids):
                self.settle([world.calls[int(each)] for each in ids], dies=dies, effect=effect)
            case turn.Suspend():
                assert any(call.undecided() for call in world.calls), "a run sleeps with nobody to wake it"
                world.go(RunState.WAITING)
            case turn.Finish():
                self.finish(step)

    def answer(self, proposals: list[tuple[bool, bool]]) -> None:
        assert all(call.state in CALL_SETTLED for call in self.world.calls), "the model is asked over an open call"
        self.world.before += self.world.calls
        self.world.steps += 1
        self.world.crashes = 0
        self.world.calls = [Call(CallState.PROPOSED, idempotent) for _, idempotent in proposals]
        for call, (gated, _) in zip(self.world.calls, proposals, strict=True):
            call.go(CallState.GATED if gated else CallState.PERMITTED)
            call.gate = GateState.PENDING if gated else None

    def recover(self, calls: list[Call]) -> None:
        for call in calls:
            call.go(CallState.UNKNOWN)
            if call.idempotent:
                call.go(CallState.PERMITTED)
            else:
                call.gate = GateState.PENDING

    def run(self, calls: list[Call], *, dies: bool, effect: bool) -> None:
        for call in calls[:1]:
            if call.gate is GateState.APPROVED:
                assert not call.held, "an approval that can still be undone is spent"
                call.move(GateMove.REDEEM)
                call.spent += 1
            else:
                call.granted += 1
            call.go(CallState.RUNNING) if call.state is not CallState.UNKNOWN else self.again(call)
            call.effects += effect or not dies
            if dies:
                self.world.crashes += 1
                self.world.go(RunState.QUEUED)
            else:
                call.go(CallState.SUCCEEDED)
                self.world.crashes = 0

    @staticmethod
    def again(call: Call) -> None:
        call.go(CallState.PERMITTED)
        call.go(CallState.RUNNING)

    def settle(self, calls: list[Call], *, dies: bool, effect: bool) -> None:
        assert not any(call.undecided() for call in self.world.calls)
        refused = [call for call in calls if call.gate is not GateState.APPROVED]
        for call in refused:
            if call.state is CallState.UNKNOWN:
                call.go(CallState.FAILED)
            else:
                call.go(CallState.REJECTED if call.gate is GateState.REJECTED else CallState.EXPIRED)
        if not refused:
            for call in calls[:1]:
                if call.state is CallState.GATED:
                    call.go(CallState.PERMITTED)
            self.run(calls, dies=dies, effect=effect)

    def finish(self, step: turn.Finish) -> None:
        self.world.go(step.state)
        for call in self.world.calls:
            if call.gate in (GateState.PENDING, GateState.APPROVED):
                call.move(GateMove.WITHDRAW if call.gate is GateState.PENDING else GateMove.LAPSE)
                call.held = False
            if call.state in (CallState.PROPOSED, CallState.GATED, CallState.PERMITTED):
                call.go(CallState.WITHDRAWN)
            elif call.state is CallState.RUNNING:
                call.go(CallState.UNKNOWN)

    @precondition(lambda self: self.world.calls)
    @rule(number=st.integers(0, 2), move=st.sampled_from(list(GateMove)))
    def gate(self, number: int, move: GateMove) -> None:
        """A person or a clock: only moves that the table has, and a redemption only by a worker."""
        call = self.world.calls[number % len(self.world.calls)]
        if call.gate is None or move in (GateMove.REDEEM, GateMove.SUPERSEDE) or self.world.state in RUN_FINISHED:
            return
        if (move is GateMove.UNDO and not call.held) or after(call.gate, move) is None:
            return
        call.move(move)
        call.held = move is GateMove.APPROVE

    @rule()
    def the_hold_is_over(self) -> None:
        for call in self.world.calls:
            call.held = False

    @rule()
    def cancel(self) -> None:
        self.world.cancelled = self.world.state not in RUN_FINISHED

    @invariant()
    def no_effect_without_its_own_permit(self) -> None:
        for call in [*self.world.before, *self.world.calls] if hasattr(self, "world") else ():
            assert call.effects <= call.spent + call.granted
            if call.gate is not None and not call.idempotent and not call.granted:
                assert call.effects <= call.spent

    @invariant()
    def a_poison_run_is_given_up(self) -> None:
        if hasattr(self, "world") and self.world.crashes >= MAX_CRASHES and self.world.state not in RUN_FINISHED:
            assert isinstance(self.next(), turn.Finish)


OneRun.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
TestOneRun = OneRun.TestCase


@pytest.mark.parametrize("state", sorted(RUN_FINISHED))
def test_a_run_that_is_over_moves_nowhere(state: RunState) -> None:
    assert not [end for start, end in RUN_TRANSITIONS if start is state]


def test_every_state_can_be_reached_and_left_or_is_an_end() -> None:
    for transitions, first, ends in (
        (RUN_TRANSITIONS, RunState.QUEUED, RUN_FINISHED),
        (CALL_TRANSITIONS, CallState.PROPOSED, CALL_SETTLED),
    ):
        reached, frontier = {str(first)}, {str(first)}
        while frontier:
            frontier = {str(end) for start, end in transitions if str(start) in frontier} - reached
            reached |= frontier
        assert reached == {str(state) for state in type(first)}
        assert {str(start) for start, _ in transitions} == reached - {str(end) for end in ends}
