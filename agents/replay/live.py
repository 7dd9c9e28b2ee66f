"""Live replays: asked for on a page, done by a worker (the model's key is not in the web tier), kept as a report."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from agents import queue
from agents.errors import AgentError
from agents.models import LiveReplay, Run
from agents.replay.access import check_replay_live
from agents.replay.playing import Report, replay
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User
from traces import ledger
from traces.kinds import LedgerKind
from traces.redactors import redact

logger = logging.getLogger(__name__)

RING_AGAIN_AFTER = timedelta(seconds=15)
LOST_AFTER = timedelta(minutes=30)
_MOST_RUNG = 50
_UNEXPECTED = "The replay stopped for a reason that the site did not expect; its log names it. Nothing was changed."


def request(run: Run, user: User, *, now: datetime) -> LiveReplay:
    """Have a run replayed with its model asked anew. Needs an open transaction; a worker is rung after the commit.

    Raises:
        NotVisible, NotAllowed: this person may not.
    """
    check_replay_live(user, run)
    row = LiveReplay.objects.create(run=run, requested_by=user, requested_at=now, rung_at=now)
    note_live(run, user.get_username(), now=now)
    queue.wake_replay(row.id)
    return row


def note_live(run: Run, actor: str, *, now: datetime) -> None:
    """Write into the ledger that a run's model is asked again. Needs an open transaction."""
    facts = {"run": str(run.id), "agent": run.agent_id, "model": run.agent.model}
    ledger.append(tenant_id=run.tenant_id, kind=LedgerKind.REPLAY, actor=actor, facts=facts, now=now)


def perform(replay_id: UUID) -> None:
    """Do a live replay that nobody has begun. Opens its own short transactions; asks the model outside of any."""
    if LiveReplay.objects.filter(id=replay_id, started_at=None).update(started_at=database_now()) != 1:
        return
    row = LiveReplay.objects.select_related("run__agent", "run__submitter", "requested_by").get(id=replay_id)
    report, problem = _played(row)
    with transaction.atomic(durable=True):
        LiveReplay.objects.filter(id=replay_id, finished_at=None).update(
            finished_at=database_now(),
            # A model that was asked anew names tools as it likes.
            report=redact(row.run.tenant_id, report.as_json()) if report is not None else None,
            problem=problem,
        )


def _played(row: LiveReplay) -> tuple[Report | None, str]:
    try:
        # The right to it may be gone since it was asked for.
        check_replay_live(row.requested_by, row.run)
        return replay(row.run, now=database_now(), live=True), ""
    except AgentError as error:
        return None, str(redact(row.run.tenant_id, str(error)))[:500]
    except Exception as error:  # noqa: BLE001 - its text may hold raw values: only its class is told
        logger.error("live replay %s: unexpected %s", row.id, type(error).__name__)  # noqa: TRY400 - as above
        return None, _UNEXPECTED


def ring_again(now: datetime) -> int:
    """Ring for live replays whose bell was lost; answers how many. Opens its own transactions."""
    due = LiveReplay.objects.filter(Q(rung_at__lte=now - RING_AGAIN_AFTER), started_at=None)
    rung = 0
    for replay_id in list(due.order_by("requested_at").values_list("id", flat=True)[:_MOST_RUNG]):
        with transaction.atomic(durable=True):
            if due.filter(id=replay_id).update(rung_at=now):
                queue.wake_replay(replay_id)
                rung += 1
    return rung


def lost(row: LiveReplay, now: datetime) -> bool:
    """Whether a replay was begun so long ago that its worker must have been lost. It is not begun again by itself."""
    return row.finished_at is None and row.started_at is not None and row.started_at <= now - LOST_AFTER
