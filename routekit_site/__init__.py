"""The roof: settings, addresses and processes. Nobody below imports it; its one inner floor is `tenancy`."""

from __future__ import annotations

from routekit_site.celery import app as celery_app

__all__ = ["celery_app"]
