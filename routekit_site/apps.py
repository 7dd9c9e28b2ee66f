from __future__ import annotations

from django.contrib.admin.apps import AdminConfig as StockAdminConfig


class AdminConfig(StockAdminConfig):
    """Makes `SiteAdmin` the default admin site."""

    default_site = "routekit_site.admin_site.SiteAdmin"
