from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.backends.signals import connection_created

from routekit_site.tenancy import slow_queries


class TenancyConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    label = "tenancy"
    name = "routekit_site.tenancy"
    verbose_name = "Tenants and people"

    def ready(self) -> None:
        """Listen to sign-ins and to new connections; the receivers need the models, which are ready only now."""
        from routekit_site.tenancy.receivers import on_sign_in  # noqa: PLC0415 - needs the app registry

        user_logged_in.connect(on_sign_in, dispatch_uid="routekit.on_sign_in")
        connection_created.connect(slow_queries.watch, dispatch_uid="routekit.slow_queries")
