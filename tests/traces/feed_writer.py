"""Commits entries of a tenant's feed and ledger from several threads at once, as a process of its own.

`python -m tests.traces.feed_writer <tenant slug> <entries a thread> <threads> <entries a transaction>`
"""

from __future__ import annotations

import random
import sys
import threading
import time

import django

django.setup()

from django.db import connection, transaction  # noqa: E402 - needs the settings
from django.utils import timezone  # noqa: E402

from routekit_site.tenancy.models import Tenant  # noqa: E402
from traces import ledger, live  # noqa: E402
from traces.kinds import FeedTopic, LedgerKind  # noqa: E402


def write(tenant_id: int, count: int, together: int, seed: int) -> None:
    """Write `count` entries, `together` in each transaction; one in ten transactions is rolled back."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    left = count
    while left > 0:
        with transaction.atomic(durable=True):
            now = timezone.now()
            ledger.append(tenant_id=tenant_id, kind=LedgerKind.DECISION, actor="writer", facts={"left": left}, now=now)
            for _ in range(min(together, left)):
                facts = {"state": "queued", "seed": seed}
                live.announce(tenant_id=tenant_id, topic=FeedTopic.RUN, subject_id=str(left), facts=facts, now=now)
            if together == 1:
                time.sleep(chance.random() / 200)
            if chance.random() < 0.1:
                transaction.set_rollback(True)
                continue
        left -= together
    connection.close()


def main() -> None:
    """Run the threads and wait for them."""
    slug, count, threads, together = sys.argv[1], *map(int, sys.argv[2:5])
    tenant_id = Tenant.objects.get(slug=slug).pk
    work = [threading.Thread(target=write, args=(tenant_id, count, together, seed)) for seed in range(threads)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()


main()
