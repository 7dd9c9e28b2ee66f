"""All addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from routekit_site.demo_page import demo_page
from routekit_site.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("demo/page/", demo_page, name="demo-page"),
    path("admin/", admin.site.urls),
]
