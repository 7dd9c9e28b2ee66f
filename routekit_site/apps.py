from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as StockAdminConfig


class SiteConfig(AppConfig):
    """The roof as an app: it has the commands of the whole site and no models."""

    name = "routekit_site"
    label = "site"
    verbose_name = "RouteKit Site"

    def ready(self) -> None:
        from routekit_site import checks  # noqa: F401, PLC0415 - Django's idiom: importing it registers them


class AdminConfig(StockAdminConfig):
    """Makes `SiteAdmin` the default admin site."""

    default_site = "routekit_site.admin_site.SiteAdmin"
