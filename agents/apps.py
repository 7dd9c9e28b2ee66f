"""Floor 3: agents, runs, tools and the sandbox."""

from __future__ import annotations

from django.apps import AppConfig

from agents.tools import registry


class AgentsConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "agents"
    verbose_name = "Agents"

    def ready(self) -> None:
        from agents import receivers  # noqa: PLC0415 - Django's idiom: it reads models, which are ready only now

        registry.discover()
        receivers.connect()
