"""Any OpenAI-compatible server, through the official client: streamed Chat Completions.

Two things that the client does not do by itself: a stream that ends without a `finish_reason` is an incomplete answer
and raises nothing, and a connection that breaks in mid-stream raises the HTTP library's error, not one of openai's.
Retries are the run's business (they must survive a crash), so the client's own are off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import httpx2
import openai
from django.conf import settings
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

from agents.errors import (
    ModelBusy,
    ModelError,
    ModelInterrupted,
    ModelNotConfigured,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    ModelUnreachable,
)
from agents.providers import interruptible
from agents.providers.protocol import (
    AssistantMessage,
    Completion,
    Message,
    ModelRequest,
    ProposedCall,
    ToolMessage,
    ToolOffer,
    UserMessage,
)

_TOO_MANY = 429
_SERVER_ERRORS = 500
_CONNECT_SECONDS = 5.0


@lru_cache(maxsize=4)
def _client(key: str, base_url: str | None) -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=base_url, max_retries=0)


class OpenAIProvider:
    """Asks the server named by OPENAI_BASE_URL with the key in OPENAI_API_KEY."""

    def complete(self, request: ModelRequest, *, stop: Callable[[], bool]) -> Completion:
        key = settings.ROUTEKIT_OPENAI_API_KEY
        if key is None:
            raise ModelNotConfigured
        client = _client(key.get_secret_value(), settings.ROUTEKIT_OPENAI_BASE_URL)

        def ask(closers: interruptible.Closers) -> Completion:
            stream = client.chat.completions.create(
                model=request.model,
                messages=_messages(request),
                tools=[_tool(offer) for offer in request.tools] or openai.omit,
                stream=True,
                stream_options={"include_usage": True},
                timeout=httpx2.Timeout(request.timeout, connect=_CONNECT_SECONDS),
            )
            with stream:
                closers.append(stream.close)
                return _assemble(stream, stop)

        try:
            return interruptible.wait_for(ask, stop)
        except (openai.APIError, httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            raise _typed(error) from error


def _assemble(chunks: Iterable[ChatCompletionChunk], stop: Callable[[], bool]) -> Completion:
    """Put the deltas of a stream together.

    Raises:
        ModelInterrupted: `stop()` turned true.
        ModelTruncated: the stream ended without a finish reason.
    """
    text: list[str] = []
    calls: dict[int, _Call] = {}
    finish, tokens_in, tokens_out = "", 0, 0
    for chunk in chunks:
        if stop():
            raise ModelInterrupted
        if chunk.usage is not None:
            tokens_in, tokens_out = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices[:1]:
            text.append(choice.delta.content or "")
            for delta in choice.delta.tool_calls or ():
                calls.setdefault(delta.index, _Call()).add(delta)
            finish = choice.finish_reason or finish
    if not finish:
        raise ModelTruncated
    proposed = tuple(calls[index].proposed(index) for index in sorted(calls))
    return Completion("".join(text), proposed, finish, tokens_in, tokens_out)


class _Call:
    """One tool call while its deltas arrive: the id and name come first, the arguments in pieces."""

    def __init__(self) -> None:
        self.call_id = ""
        self.name = ""
        self.arguments: list[str] = []

    def add(self, delta: ChoiceDeltaToolCall) -> None:
        self.call_id = delta.id or self.call_id
        if delta.function is not None:
            self.name = delta.function.name or self.name
            self.arguments.append(delta.function.arguments or "")

    def proposed(self, index: int) -> ProposedCall:
        return ProposedCall(self.call_id or f"call_{index}", self.name, "".join(self.arguments))


def _messages(request: ModelRequest) -> Any:
    first = [{"role": "system", "content": request.instructions}] if request.instructions else []
    return [*first, *(_message(message) for message in request.messages)]


def _message(message: Message) -> dict[str, Any]:
    match message:
        case UserMessage(text):
            return {"role": "user", "content": text}
        case ToolMessage(call_id, _, text):
            return {"role": "tool", "tool_call_id": call_id, "content": text}
        case AssistantMessage(text, ()):
            return {"role": "assistant", "content": text}
        case AssistantMessage(text, calls):
            return {
                "role": "assistant",
                "content": text or None,
                "tool_calls": [
                    {"id": c.call_id, "type": "function", "function": {"name": c.tool, "arguments": c.arguments}}
                    for c in calls
                ],
            }


def _tool(offer: ToolOffer) -> Any:
    return {
        "type": "function",
        "function": {"name": offer.name, "description": offer.description, "parameters": dict(offer.parameters)},
    }


def _typed(error: Exception) -> ModelError:
    """The same trouble as one of ours. Never quotes the server's text: it may echo the prompt or a part of the key."""
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        if status == _TOO_MANY:
            return ModelBusy(retry_after=_retry_after(error))
        if status >= _SERVER_ERRORS:
            return ModelUnavailable(f"The model's server answered with an error of its own ({status}).")
        return ModelRefused(
            f"The model's server refused the request ({status}). An admin should check the agent's model and the "
            "site's key."
        )
    if isinstance(error, ValueError):
        return ModelTruncated("The model's answer could not be read: a part of it was garbled.")
    return ModelUnreachable()


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds from the Retry-After header; None when it is missing or an HTTP date (then our own backoff holds)."""
    try:
        return float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
