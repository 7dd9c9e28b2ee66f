"""The addresses of this floor."""

from __future__ import annotations

from django.urls import path

from traces import views

urlpatterns = [path("shared/traces/<str:token>/", views.shared, name="shared-trace")]
