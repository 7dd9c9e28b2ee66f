from __future__ import annotations

from django.apps import AppConfig


class TracesConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "traces"
    verbose_name = "Traces"

    def ready(self) -> None:
        """Listen to sign-ins; the receivers need the models, which are ready only now."""
        from traces import receivers  # noqa: PLC0415 - needs the app registry

        receivers.listen()
