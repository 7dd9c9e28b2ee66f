"""All addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from routekit_site.demo_page import demo_page
from routekit_site.health import healthz, readyz
from routekit_site.metrics import metrics
from routekit_site.security_page import security
from routekit_site.views import home

urlpatterns = [
    path("", home, name="home"),
    path("", include("routekit_site.tenancy.urls")),
    path("", include("approvals.urls")),
    path("", include("agents.urls")),
    path("", include("traces.urls")),
    path("security/", security, name="security"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("demo/page/", demo_page, name="demo-page"),
    path("admin/", admin.site.urls),
]

handler400 = "routekit_site.views.bad_request"
handler403 = "routekit_site.views.forbidden"
handler404 = "routekit_site.views.not_found"
handler500 = "routekit_site.views.server_error"
handler429 = "routekit_site.views.too_many_requests"
