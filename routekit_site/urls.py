"""All addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from routekit_site import members_page
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
    path("members/", members_page.member_list, name="members"),
    path("members/<int:member_id>/role/", members_page.change_role, name="change-role"),
    path("members/<int:member_id>/remove/", members_page.remove_member, name="remove-member"),
    path("members/invite/", members_page.invite, name="invite"),
    path(
        "members/invitations/<int:invitation_id>/withdraw/",
        members_page.withdraw_invitation,
        name="withdraw-invitation",
    ),
    path("invitation/<str:token>/", members_page.invitation, name="invitation"),
    path("tenants/", members_page.tenants, name="tenants"),
    path("tenants/<int:tenant_id>/invite/", members_page.invite_admin, name="invite-admin"),
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
