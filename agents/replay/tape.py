"""What was recorded of a run, ready to be fed back: the raw values as far as they are kept, and the trace's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from agents import turn
from agents.errors import NothingRecorded
from agents.models import ModelReply, Run, ToolCall
from agents.runs.transcript import told_of
from agents.states import CALL_SETTLED, CallState
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed
from traces.replay import Recording, recording_of


@dataclass(frozen=True)
class Known:
    """One recorded call, with the raw values as far as they are still there."""

    row: ToolCall
    arguments: Any
    told: turn.Told

    @property
    def final(self) -> CallState:
        """Where it ended. A call that was open when its run ended never ran as far as anybody knows."""
        state = CallState(self.row.state)
        return state if state in CALL_SETTLED else CallState.WITHDRAWN


@dataclass(frozen=True)
class Answer:
    """One recorded reply of the model."""

    text: str
    finish_reason: str
    tokens: tuple[int, int]
    calls: tuple[Known, ...]


@dataclass
class Tape:
    """All that was recorded of a run, and whether some of it is only there redacted."""

    run: Run
    prompt: str
    answers: list[Answer]
    recording: Recording
    redacted_only: bool = False


def tape_of(run: Run) -> Tape:
    recording = recording_of(run.id)
    if not recording.events:
        raise NothingRecorded
    tape = Tape(run, "", [], recording)
    tape.prompt = str(_opened(tape, run.prompt_sealed, run.prompt_redacted))
    by_step: dict[int, list[Known]] = {}
    for row in ToolCall.objects.filter(run=run).in_order():
        by_step.setdefault(row.step, []).append(_known(tape, row))
    for reply in ModelReply.objects.filter(run=run).order_by("step"):
        text = str(_opened(tape, reply.text_sealed, reply.text_redacted))
        tokens = (reply.input_tokens, reply.output_tokens)
        tape.answers.append(Answer(text, reply.finish_reason, tokens, tuple(by_step.get(reply.step, ()))))
    return tape


def _opened(tape: Tape, sealed: bytes | memoryview | None, redacted: Any) -> Any:
    """The raw value, or the redacted copy where retention or a lost key has taken it."""
    if sealed is None:
        return redacted
    try:
        return unseal(sealed)
    except DecryptionFailed:
        tape.redacted_only = True
        return redacted


def _known(tape: Tape, row: ToolCall) -> Known:
    proposed = row.proposed_sealed if row.proposed_sealed is not None else row.arguments_sealed
    arguments = _opened(tape, proposed, row.arguments_redacted)
    try:
        return Known(row, arguments, told_of(row))
    except DecryptionFailed:
        tape.redacted_only = True
        known = arguments if isinstance(arguments, dict) else None
        result = "" if row.result_redacted is None else text_of(row.result_redacted)
        written = "" if known is not None else str(arguments)
        return Known(row, arguments, turn.Told(row.call_id, row.tool, known, written, CallState(row.state), result))


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def circumstances(tape: Tape) -> list[str]:
    """What a reader has to know about the material of a replay."""
    agent, notes = tape.run.agent, []
    if tape.run.agent_version != agent.version:
        notes.append(
            f"The agent has changed since: the run had version {tape.run.agent_version}, now it is {agent.version}."
        )
    if not agent.enabled:
        notes.append("The agent is switched off today.")
    if tape.redacted_only:
        notes.append(
            "Raw values of this run are gone (deleted by retention, or their key is lost), so redacted copies stand in "
            "for them. A verdict on arguments that were redacted may differ for that reason alone."
        )
    if tape.recording.locked:
        notes.append(
            f"{tape.recording.locked} events of the trace can't be decrypted; the verdicts in them are not compared."
        )
    return notes
