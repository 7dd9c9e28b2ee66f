"""What a model provider is given and what it gives back. Pure: the standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class ToolOffer:
    """A tool as the model sees it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ProposedCall:
    """A tool call that the model wrote; `arguments` is its JSON text, untouched and perhaps not valid."""

    call_id: str
    tool: str
    arguments: str


@dataclass(frozen=True)
class UserMessage:
    """What the person asked."""

    text: str


@dataclass(frozen=True)
class AssistantMessage:
    """What the model answered at an earlier step."""

    text: str
    calls: tuple[ProposedCall, ...] = ()


@dataclass(frozen=True)
class ToolMessage:
    """What became of a call. `ran` is False when it was denied, rejected, answered, expired or withdrawn."""

    call_id: str
    tool: str
    text: str
    ran: bool = True


Message = UserMessage | AssistantMessage | ToolMessage


@dataclass(frozen=True)
class ModelRequest:
    """One question to a model: the whole conversation and the tools it may call. `timeout` is in seconds."""

    model: str
    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolOffer, ...] = ()
    timeout: float = 30.0


@dataclass(frozen=True)
class Completion:
    """A complete answer. `finish_reason` is the provider's word: stop, tool_calls, length, content_filter."""

    text: str
    calls: tuple[ProposedCall, ...]
    finish_reason: str
    input_tokens: int = 0
    output_tokens: int = 0


class ModelProvider(Protocol):
    """A way to ask a model."""

    def complete(self, request: ModelRequest, *, stop: Callable[[], bool]) -> Completion:
        """Ask and wait for the whole answer; gives up soon after `stop()` turns true.

        Raises:
            ModelError: one of its classes says what happened and whether another try makes sense.
        """
        ...
