"""The models that agents can ask."""

from __future__ import annotations

from agents.errors import UnknownProvider
from agents.providers.openai import OpenAIProvider
from agents.providers.protocol import ModelProvider
from agents.providers.scripted import ScriptedProvider

PROVIDERS: dict[str, ModelProvider] = {"openai": OpenAIProvider(), "scripted": ScriptedProvider()}


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
