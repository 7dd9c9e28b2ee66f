"""Commits one feed entry for each line that it reads, and answers with its number and the time of its commit."""

from __future__ import annotations

import sys
import time
from functools import partial

import django

django.setup()

from django.db import transaction

from bench.durability.figures import tell
from routekit_site.tenancy.clock import database_now
from traces import live
from traces.kinds import FeedTopic


def _note(moments: list[float]) -> None:
    moments.append(time.time())


if __name__ == "__main__":
    tenant = int(sys.argv[1])
    tell(ready=True)
    for _line in sys.stdin:
        committed: list[float] = []
        with transaction.atomic():
            # Asked for first, so called first: the bell is rung after this moment.
            transaction.on_commit(partial(_note, committed))
            live.announce(tenant_id=tenant, topic=FeedTopic.RUN, subject_id="bench", facts={}, now=database_now())
        tell(number=live.latest_number(tenant), at=committed[0])
