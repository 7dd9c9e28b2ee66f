"""A model that needs no key and always answers the same: it makes the tool calls that the prompt lists.

The prompt is read in one of two ways.

Explicit: lines of the form `read_file {"path": "notes.txt"}`. Lines that follow each other are one reply with
several calls; an empty line, or a line that says `then`, starts the next reply. The JSON is passed on as it stands, so
that a malformed one reaches the run like a real model's mistake. Other lines are ignored.

Plain English, where no line is explicit: "read notes.txt, write summary.txt, fetch a page". Each step is a reply of
its own, because a summary needs what was read before it. "A page" without an address is the first address in the
agent's instructions.

When all replies were made, the answer tells what became of each call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agents.providers.protocol import (
    AssistantMessage,
    Completion,
    ModelRequest,
    ProposedCall,
    ToolMessage,
    UserMessage,
)

_EXPLICIT = re.compile(r"^\s*(?:call\s+)?(?P<tool>[A-Za-z_][A-Za-z0-9_.-]{0,99})\s+(?P<arguments>\{.*)$")
_THEN = re.compile(r"^\s*(?:then[.,:]?)?\s*$", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>`]+[^\s\"'<>`.,;:!?)]")
_EXCERPT = 400
_SUMMARY = 2_000
_CHARACTERS_PER_TOKEN = 4

Writer = Callable[["_Talk"], dict[str, str | bool]]


@dataclass(frozen=True)
class _Talk:
    """What the conversation holds when an English step is put into arguments."""

    request: ModelRequest
    prompt: str
    results: tuple[ToolMessage, ...]


@dataclass(frozen=True)
class _Step:
    """One English step: which tool, and how its arguments are found when its turn comes."""

    tool: str
    arguments: Writer


class ScriptedProvider:
    """Deterministic: the same conversation always gets the same answer."""

    def complete(self, request: ModelRequest, *, stop: Callable[[], bool]) -> Completion:  # noqa: ARG002 - never waits
        prompt = next((m.text for m in request.messages if isinstance(m, UserMessage)), "")
        made = sum(isinstance(m, AssistantMessage) for m in request.messages)
        results = tuple(m for m in request.messages if isinstance(m, ToolMessage))
        blocks = list(_explicit_blocks(prompt)) or _english_blocks(_Talk(request, prompt, results))
        if made < len(blocks):
            return _answer(request, "", _calls(blocks[made], made))
        return _answer(request, _closing(results, understood=bool(blocks)), ())


def _calls(block: list[tuple[str, str]], made: int) -> tuple[ProposedCall, ...]:
    return tuple(
        ProposedCall(f"call_{made + 1}_{position}", tool, arguments)
        for position, (tool, arguments) in enumerate(block, start=1)
    )


def _answer(request: ModelRequest, text: str, calls: tuple[ProposedCall, ...]) -> Completion:
    sent = sum(len(m.text) for m in request.messages) + len(request.instructions)
    made = len(text) + sum(len(call.arguments) for call in calls)
    return Completion(
        text=text,
        calls=calls,
        finish_reason="tool_calls" if calls else "stop",
        input_tokens=sent // _CHARACTERS_PER_TOKEN + 1,
        output_tokens=made // _CHARACTERS_PER_TOKEN + 1,
    )


def _explicit_blocks(prompt: str) -> Iterator[list[tuple[str, str]]]:
    block: list[tuple[str, str]] = []
    for line in prompt.splitlines():
        if found := _EXPLICIT.match(line):
            block.append((found["tool"], found["arguments"].strip()))
        elif _THEN.match(line) and block:
            yield block
            block = []
    if block:
        yield block


def _english_blocks(talk: _Talk) -> list[list[tuple[str, str]]]:
    return [[(step.tool, json.dumps(step.arguments(talk)))] for step in _english_steps(talk.prompt)]


def _english_steps(prompt: str) -> list[_Step]:
    """The steps in the order in which the prompt names them."""
    found: list[tuple[int, _Step]] = []
    for pattern, tool, arguments in _PHRASES:
        found += [(match.start(), _Step(tool, arguments(match))) for match in pattern.finditer(prompt)]
    return [step for _, step in sorted(found, key=lambda item: item[0])]


def _fixed(**names: str) -> Callable[[re.Match[str]], Writer]:
    """Arguments whose values are groups of the phrase: `path="group"`."""

    def arguments(match: re.Match[str]) -> Writer:
        values: dict[str, str | bool] = {argument: match[group] for argument, group in names.items() if match[group]}
        return lambda _talk: values

    return arguments


def _write(match: re.Match[str]) -> Writer:
    path = match["path"]
    return lambda talk: {"path": path, "text": _summary(talk.results), "overwrite": True}


def _fetch(match: re.Match[str]) -> Writer:
    address = match["url"]
    return lambda _talk: {"url": address}


def _fetch_default(_match: re.Match[str]) -> Writer:
    return lambda talk: {"url": _first_address(talk.request.instructions)}


def _first_address(instructions: str) -> str:
    found = _URL.search(instructions)
    return found[0] if found else ""


def _summary(results: tuple[ToolMessage, ...]) -> str:
    parts = [_excerpt(_readable(m.text), _SUMMARY) for m in results if m.ran]
    return "Summary\n\n" + ("\n\n".join(parts) or "Nothing was read.") + "\n"


def _closing(results: tuple[ToolMessage, ...], *, understood: bool) -> str:
    if not understood:
        return (
            "I am a scripted model and found no step that I know in the prompt. Write for example: "
            "read notes.txt, write summary.txt, fetch a page."
        )
    told = [f"- {m.tool}{'' if m.ran else ' did not run'}: {_excerpt(_readable(m.text), _EXCERPT)}" for m in results]
    return "\n".join(["This is what came of each step:", *told])


def _readable(result: str) -> str:
    """The text in a result that has one (a file, a page), else the result as it stands."""
    try:
        value = json.loads(result)
    except ValueError:
        return result
    return value["text"].strip() if isinstance(value, dict) and isinstance(value.get("text"), str) else result


def _excerpt(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit} characters)"


def _phrase(pattern: str) -> re.Pattern[str]:
    return re.compile(r"\b" + pattern, re.IGNORECASE)


_A_FILE = r"(?:an? |the |my )?(?:file )?(?:called |named )?"
_PATH = r"(?P<path>[\w./-]*[\w-]\.\w+)"
_FETCH = r"(?:fetch|get|open|visit|download) "
_PHRASES: tuple[tuple[re.Pattern[str], str, Callable[[re.Match[str]], Writer]], ...] = (
    (_phrase("read " + _A_FILE + _PATH), "read_file", _fixed(path="path")),
    (
        _phrase(
            r"(?:write|create|save) (?:(?:an? |the |its |your )?summary (?:of \S+ )?(?:to |into |in ))?"
            + _A_FILE
            + _PATH
        ),
        "write_file",
        _write,
    ),
    (_phrase("delete " + _A_FILE + _PATH), "delete_file", _fixed(path="path")),
    (
        _phrase(r"list (?:the |all )?files(?: (?:in|of|below) (?P<path>[\w./-]*[\w/]))?"),
        "list_directory",
        _fixed(path="path"),
    ),
    (_phrase(r"search (?:the )?(?:files )?for \"(?P<text>[^\"\n]{1,200})\""), "search_files", _fixed(text="text")),
    (_phrase(_FETCH + r"(?:[\w ]{1,40}? )?(?P<url>" + _URL.pattern + ")"), "http_request", _fetch),
    (
        _phrase(_FETCH + r"(?:a|the|this|that) (?:web ?)?page\b(?! (?:at |from )?https?:)"),
        "http_request",
        _fetch_default,
    ),
    (_phrase(r"calculate (?P<expression>[\d\s+*/%().e-]{1,200}\d\)*)"), "calculator", _fixed(expression="expression")),
    (_phrase(r"(?:tell (?:me )?the time|what time is it)"), "current_time", _fixed()),
)
