"""The Celery application. Tasks live in each app's `tasks.py`."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routekit_site.settings")

app = Celery("routekit_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The embedded worker runs in a thread of its own, where only a default app is found.
app.set_default()
