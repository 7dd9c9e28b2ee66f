from __future__ import annotations

from django.urls import path

from agents import replay_views, views

urlpatterns = [
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/new/", views.new_job, name="new-job"),
    path("queue/<uuid:gate_id>/edit/", views.edit_call, name="edit-call"),
    path("runs/<uuid:run_id>.json", views.run_data, name="run-data"),
    path("runs/<uuid:run_id>/", views.run, name="run"),
    path("runs/<uuid:run_id>/cancel/", views.cancel_run, name="cancel-run"),
    path("runs/<uuid:run_id>/replay/", replay_views.replay_run, name="replay-run"),
    path("runs/<uuid:run_id>/replay/live/", replay_views.replay_live, name="replay-live"),
]
