from __future__ import annotations

from django.urls import path

from approvals import views

urlpatterns = [
    path("queue/", views.queue, name="queue"),
    path("queue/filters/", views.save_filter, name="save-filter"),
    path("queue/filters/<uuid:filter_id>/delete/", views.delete_filter, name="delete-filter"),
    path("queue/rows.json", views.rows_data, name="queue-rows"),
    path("queue/<uuid:gate_id>.json", views.gate_data, name="gate-data"),
    path("queue/<uuid:gate_id>/", views.gate, name="gate"),
    path("queue/<uuid:gate_id>/decide/", views.decide, name="decide"),
    path("queue/<uuid:gate_id>/undo/", views.undo, name="undo"),
    path("queue/<uuid:gate_id>/claim/", views.claim, name="claim"),
    path("queue/<uuid:gate_id>/release/", views.release, name="release-claim"),
    path("queue/<uuid:gate_id>/reveal/", views.reveal, name="reveal"),
    path("queue/<uuid:gate_id>/say/<slug:kind>/", views.say, name="say"),
    path("queue/<uuid:gate_id>/withdraw/", views.withdraw, name="withdraw"),
    path("queue/<uuid:gate_id>/remember/", views.remember, name="remember"),
    path("queue/<uuid:gate_id>/snooze/", views.snooze, name="snooze"),
    path("settings/", views.personal_settings, name="settings"),
    path("settings/keys/", views.single_keys, name="single-keys"),
    path("insights/", views.insights, name="insights"),
]
