from __future__ import annotations

from django.urls import path

from routekit_site.tenancy import confirming, views

urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("demo/sign-in/", views.demo_sign_in, name="demo-sign-in"),
    path("confirm/", confirming.confirm, name="confirm-identity"),
    path("tenant/", views.switch_tenant, name="switch-tenant"),
]
