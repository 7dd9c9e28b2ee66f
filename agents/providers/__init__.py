"""The models that agents can ask."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from agents.errors import UnknownProvider
from agents.providers.protocol import Completion, ModelProvider, ModelRequest
from agents.providers.scripted import ScriptedProvider


class OpenAIWhenAsked:
    """OpenAI's client, imported with the first question.

    Importing it would be a fifth of the start of every process, and of all processes only workers ask models.
    """

    def complete(self, request: ModelRequest, *, stop: Callable[[], bool]) -> Completion:
        return openai_provider().complete(request, stop=stop)


@lru_cache(maxsize=1)
def openai_provider() -> ModelProvider:
    """The client itself. A worker that is going to ask takes it in before it forks: the children share the memory."""
    from agents.providers.openai import OpenAIProvider  # noqa: PLC0415 - what this function is for

    return OpenAIProvider()


PROVIDERS: dict[str, ModelProvider] = {"openai": OpenAIWhenAsked(), "scripted": ScriptedProvider()}


def provider_for(name: str) -> ModelProvider:
    """The provider called `name`.

    Raises:
        UnknownProvider: there is none; the message lists those that there are.
    """
    try:
        return PROVIDERS[name]
    except KeyError:
        raise UnknownProvider(
            f'There is no model provider called "{name}". There are: {", ".join(PROVIDERS)}.'
        ) from None
