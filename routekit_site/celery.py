"""The Celery application. Tasks live in each app's `tasks.py`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task
from celery.signals import setup_logging, worker_process_init

from routekit_site import telemetry
from routekit_site.tenancy.exhaustion import ending_when_exhausted

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routekit_site.settings")


class SiteTask(Task):  # type: ignore[type-arg] # generic in the stubs only
    """What is the same for all tasks."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        with ending_when_exhausted():
            return self.run(*arguments, **keywords)


app = Celery("routekit_site", task_cls="routekit_site.celery:SiteTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# The embedded worker runs in a thread of its own, where only a default app is found.
app.set_default()


@setup_logging.connect
def keep_the_sites_logging(**_: Any) -> None:
    """Celery sets up no logging of its own when this signal is answered: the site's redacts, Celery's doesn't."""


@worker_process_init.connect
def tell_spans(**_: Any) -> None:
    """In each process that works on runs; a sender of spans does not survive a fork."""
    telemetry.start("worker")
