"""The conversation so far, put together from the sealed columns for the model."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from agents import integrity
from agents.errors import StateChanged
from agents.models import ModelReply, Run, ToolCall
from agents.providers.protocol import Message
from agents.states import CallState
from agents.turn import Told, conversation, words_for_edited
from approvals.presentation import Step
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.statements import Query, slot

# What the model answered at one step, and what it is told of the calls in it.
Answer = tuple[str, tuple[Told, ...]]

_RENDERED = 16_384  # characters of a result that are rendered anew with each call that is asked about

_CALLS = Query(lambda: ToolCall.objects.filter(run=slot("run"), step__gt=slot("after")).in_order())
_REPLIES = Query(lambda: ModelReply.objects.filter(run=slot("run"), step__gt=slot("after")).order_by("step"))
_LATEST = Query(
    lambda: (
        ToolCall.objects.filter(run=slot("run"), state__in=[CallState.SUCCEEDED, CallState.FAILED])
        .exclude(result_sealed=None)
        .order_by("-step", "-position")[:2]
    )
)


def messages_of(
    run: Run, kept: list[Answer] | None = None, latest: tuple[str, Sequence[ToolCall]] | None = None
) -> tuple[Message, ...]:
    """All messages of a run whose latest calls are settled.

    `kept` are the answers of its first steps as they were read and checked before, and gains those that came since:
    what is settled never changes, so whoever holds a run reads and opens each step once, however long the run grows.
    `latest` is the text of its last reply with that reply's calls, where the holder has them at hand.

    Raises:
        StateChanged: one of its rows is not as the application wrote it.
    """
    kept = [] if kept is None else kept
    if latest is not None and len(kept) == run.steps - 1:
        text, calls = latest
        kept.append((text, tuple(_checked(call, run.tenant_id) for call in calls)))
    if len(kept) < run.steps:
        kept += _answers(run, len(kept))
    if len(kept) != run.steps:
        raise StateChanged(f"the number of replies of run {run.pk}")
    prompt = str(unseal(run.prompt_sealed))
    integrity.check_prompt(run, prompt)
    return conversation(prompt, kept)


def _answers(run: Run, after: int) -> list[Answer]:
    """The answers that followed on so many first ones."""
    calls: dict[int, list[ToolCall]] = defaultdict(list)
    for call in _CALLS.all(run=run.pk, after=after):
        integrity.check_call(call)
        calls[call.step].append(call)
    answers: list[Answer] = []
    for reply in _REPLIES.all(run=run.pk, after=after):
        text = str(unseal(reply.text_sealed))
        integrity.check_reply(reply, text, calls[reply.step])
        answers.append((text, tuple(_checked(call, run.tenant_id) for call in calls[reply.step])))
    return answers


def arguments_of(call: ToolCall) -> Any:
    """The canonical arguments, or the model's own text where that was no valid call."""
    return unseal(call.arguments_sealed)


def told_of(call: ToolCall) -> Told:
    """A call as the conversation holds it. Raises `DecryptionFailed` where a raw value is gone."""
    return _told(call, _raw_result(call))


def _told(call: ToolCall, result: str) -> Told:
    proposed = unseal(call.proposed_sealed) if call.proposed_sealed is not None else arguments_of(call)
    known = isinstance(proposed, dict)
    return Told(
        call_id=call.call_id,
        tool=call.tool,
        arguments=proposed if known else None,
        written="" if known else str(proposed),
        state=CallState(call.state),
        result=_result_of(call, result),
    )


def _checked(call: ToolCall, tenant_id: int) -> Told:
    result = _raw_result(call)
    if result:
        integrity.check_result(call, tenant_id, result)
    return _told(call, result)


def _raw_result(call: ToolCall) -> str:
    return str(unseal(call.result_sealed)) if call.result_sealed is not None else ""


def _result_of(call: ToolCall, result: str) -> str:
    """What the model is told of the call; of a reviewer's edit too, with the arguments as they were used."""
    if call.proposed_sealed is None:
        return result
    ran = call.state in (CallState.SUCCEEDED, CallState.FAILED)
    return words_for_edited(arguments_of(call), result, ran=ran)


def latest_steps(run: Run) -> tuple[Step, ...]:
    """The last two calls that came to something, for whoever is asked about the next one.

    Results are raw and whole, because cutting one could leave half of a value that nobody knows again; of a long one it
    is the redacted copy.
    """
    if not run.steps:
        return ()
    done = _LATEST.all(run=run.pk)
    return tuple(_step(call) for call in reversed(done))


def _step(call: ToolCall) -> Step:
    text = _raw_result(call)
    if len(text) > _RENDERED:
        text = json.dumps(call.result_redacted, ensure_ascii=False)
    return Step(title=f"{call.tool}: {call.state}", detail=text)
