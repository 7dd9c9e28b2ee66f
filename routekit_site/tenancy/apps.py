from __future__ import annotations

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    label = "tenancy"
    name = "routekit_site.tenancy"
    verbose_name = "Tenants and people"
