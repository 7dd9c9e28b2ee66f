"""What a run does next, from what is known of it. Pure: no database, no clock, no framework.

`next_step` is asked again after every change, so that a run taken over from a dead worker goes on like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.providers.protocol import AssistantMessage, Message, ProposedCall, ToolMessage, UserMessage
from agents.states import CallState, RunState
from agents.types import MAX_CRASHES

_MICRODOLLARS = 1_000_000


@dataclass(frozen=True)
class RunFacts:
    """What counts of a run: its budgets and what was used of them. Times in milliseconds, money in microdollars."""

    steps: int
    max_steps: int
    tokens: int
    max_tokens: int
    cost: int
    max_cost: int
    worked: int
    max_worked: int
    crashes: int = 0
    cancelled: bool = False


@dataclass(frozen=True)
class ReplyFacts:
    """The model's latest answer."""

    finish_reason: str
    text: str


@dataclass(frozen=True)
class CallStanding:
    """One call of the latest answer. `undecided`: its gate waits for a person, or is held after an approval."""

    id: str
    state: CallState
    undecided: bool = False


@dataclass(frozen=True)
class AskModel:
    """Ask the model for the next answer."""


@dataclass(frozen=True)
class Recover:
    """These calls were being run when their worker was lost."""

    calls: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """These calls need no person: run them."""

    calls: tuple[str, ...]


@dataclass(frozen=True)
class Settle:
    """These calls' gates are settled: run them, or tell the model why not."""

    calls: tuple[str, ...]


@dataclass(frozen=True)
class Suspend:
    """Nothing can be done before a gate is decided."""


@dataclass(frozen=True)
class Finish:
    """The run is over. `kind` is empty when it succeeded; `message` is for a person."""

    state: RunState
    kind: str = ""
    message: str = ""
    output: str = ""


Step = AskModel | Recover | Start | Settle | Suspend | Finish


def next_step(  # noqa: PLR0911 - one line for each thing that can be next, in order of precedence
    run: RunFacts, reply: ReplyFacts | None, calls: tuple[CallStanding, ...]
) -> Step:
    """The next thing to do; `calls` are those of `reply`, in order.

    Calls that need no approval run before the run waits; settled gates are acted on when none is open any more.
    """
    if run.cancelled:
        return Finish(RunState.CANCELLED, "cancelled", "The run was cancelled.")
    if run.crashes >= MAX_CRASHES:
        return Finish(RunState.FAILED, "crashed", f"The run was given up: it was lost in mid-work {MAX_CRASHES} times.")
    if orphans := _in(calls, CallState.RUNNING):
        return Recover(orphans)
    if run.worked >= run.max_worked:
        return Finish(
            RunState.TIMED_OUT,
            "time_budget",
            f"The run was stopped: it worked for {run.max_worked // 1000} seconds, the most that its agent may take. "
            "Time spent waiting for people is not counted.",
        )
    if permitted := _in(calls, CallState.PERMITTED):
        return Start(permitted)
    if gated := tuple(call for call in calls if call.state in (CallState.GATED, CallState.UNKNOWN)):
        return Suspend() if any(c.undecided for c in gated) else Settle(tuple(call.id for call in gated))
    if reply is None or calls:
        return _over_budget(run) or AskModel()
    return _last_word(reply)


def _in(calls: tuple[CallStanding, ...], state: CallState) -> tuple[str, ...]:
    return tuple(call.id for call in calls if call.state is state)


def _over_budget(run: RunFacts) -> Finish | None:
    """Why the model may not be asked once more, or None."""
    if run.steps >= run.max_steps:
        return Finish(
            RunState.FAILED,
            "step_budget",
            f"The run was stopped after {run.steps} steps, the most that its agent may take.",
        )
    if run.tokens >= run.max_tokens:
        return Finish(
            RunState.FAILED,
            "token_budget",
            f"The run was stopped: it used {run.tokens} tokens and its agent may use {run.max_tokens}.",
        )
    if run.cost > run.max_cost:
        return Finish(
            RunState.FAILED,
            "cost_budget",
            f"The run was stopped: it cost ${run.cost / _MICRODOLLARS:.2f} and its agent may spend "
            f"${run.max_cost / _MICRODOLLARS:.2f}.",
        )
    return None


def _last_word(reply: ReplyFacts) -> Finish:
    if reply.finish_reason == "length":
        return Finish(
            RunState.FAILED,
            "answer_cut",
            "The model's answer was cut off at its length limit; what arrived is kept below.",
            reply.text,
        )
    if reply.finish_reason == "content_filter":
        return Finish(
            RunState.FAILED,
            "content_filter",
            "The model's provider withheld the answer (content filter).",
            reply.text,
        )
    return Finish(RunState.SUCCEEDED, output=reply.text)


@dataclass(frozen=True)
class Told:
    """A settled call as the conversation holds it; `arguments` is None where the model's JSON could not be read."""

    call_id: str
    tool: str
    arguments: dict[str, Any] | None
    written: str
    state: CallState
    result: str


def conversation(prompt: str, answers: Iterable[tuple[str, tuple[Told, ...]]]) -> tuple[Message, ...]:
    """The messages that a model is sent: the prompt, then each answer with what became of its calls."""
    return (UserMessage(prompt), *(message for text, calls in answers for message in _turn(text, calls)))


def _turn(text: str, calls: tuple[Told, ...]) -> Iterator[Message]:
    yield AssistantMessage(
        text,
        tuple(
            ProposedCall(c.call_id, c.tool, c.written if c.arguments is None else json.dumps(c.arguments))
            for c in calls
        ),
    )
    for call in calls:
        ran = call.state in (CallState.SUCCEEDED, CallState.FAILED)
        yield ToolMessage(call.call_id, call.tool, call.result, ran=ran)


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?")) else f"{words}."


def words_for_denied(reason: str) -> str:
    """What the model is told of a call that policy does not allow."""
    return f"Not allowed: {_sentence(reason)} The call did not run. Don't propose it again."


def words_for_invalid(problem: str) -> str:
    """What the model is told of a call that can't be understood."""
    return f"The call can't be understood, so it did not run: {_sentence(problem)} Correct it and try again."


def words_for_rejected(reason: str) -> str:
    """What the model is told of a call that a person refused."""
    why = f" The reason: {_sentence(reason)}" if reason else ""
    return f"A reviewer rejected this call, so it did not run.{why} Don't propose the same call again."


def words_for_answered(answer: str) -> str:
    """What the model is told of a call that a person answered in the tool's place."""
    return f"A person answered in the tool's place; the call did not run. Their answer:\n{answer}"


def words_for_expired() -> str:
    """What the model is told of a call that nobody decided."""
    return "Nobody decided about this call in time, so it did not run. Nobody said no; it may be proposed again."


def words_for_lapsed() -> str:
    """What the model is told of a call that was approved and not used in time."""
    return "The call was approved, but the approval ran out before it could be used, so it did not run."


def words_for_withdrawn(why: str) -> str:
    """What the model is told of a call whose request for approval was taken back."""
    return f"The request for approval was withdrawn, so the call did not run. {why}".rstrip()


def words_for_not_repeated(reason: str) -> str:
    """What the model is told of an interrupted call that a person decided not to run again."""
    why = f" They said: {reason}" if reason else ""
    return (
        "This call was interrupted, and it is not known here whether it took effect. A reviewer decided that it must "
        f"not be run again; assume that it happened.{why}"
    )


def words_for_edited(arguments: dict[str, Any], result: str, *, ran: bool) -> str:
    """What the model is told of a call whose arguments a person has changed, with what came of it."""
    written = json.dumps(arguments, ensure_ascii=False)
    if ran:
        return (
            "A reviewer edited the arguments of this call before it ran. It did not run as you proposed it; it ran "
            f"with: {written}\nWhat came of it: {result}"
        )
    return f"A reviewer edited the arguments of this call to: {written}\nWhat became of it then: {result}"


def words_for_failed(message: str) -> str:
    """What the model is told of a call that ran and gave no result."""
    return f"The tool failed: {message}"
