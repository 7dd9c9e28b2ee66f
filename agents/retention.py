"""Forgetting raw values: the sealed prompt, replies, arguments and results of runs whose time is over.

What stays is redacted: the run, its transcript, its gates and decisions, and the trace. One batch a call, inside the
caller's transaction; how long a tenant keeps raw values is a setting on the traces' floor.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Q

from agents.models import ModelReply, Run, ToolCall
from approvals.retention import forget_arguments
from routekit_site.tenancy.encryption import FORGOTTEN
from traces import retention
from traces.retention import RawRetention, raw_retentions

__all__ = ["RawRetention", "forget_raw", "raw_retentions"]


def forget_raw(policy: RawRetention, now: datetime, limit: int = 100) -> int:
    """Delete the raw values of the oldest finished runs that are past their time; at most `limit` runs.

    Returns how many runs that were; less than `limit` means that nothing is left to do. What was deleted is an entry of
    the ledger. A legal hold keeps everything.
    """
    until = now - timedelta(days=policy.days)
    if retention.is_held(policy.tenant_id):
        return 0
    skip = connection.features.has_select_for_update_skip_locked
    past = Run.objects.filter(tenant_id=policy.tenant_id, finished_at__lt=until, raw_forgotten_at=None)
    rows = past.order_by("finished_at").select_for_update(skip_locked=skip).values_list("id", "finished_at")
    found = list(rows[:limit])
    if not found:
        return 0
    keys = [key for key, _ in found]
    values = len(keys) + forget_arguments(keys)
    values += ModelReply.objects.filter(run_id__in=keys).update(text_sealed=FORGOTTEN)
    calls = ToolCall.objects.filter(run_id__in=keys)
    values += calls.update(arguments_sealed=FORGOTTEN)
    values += calls.filter(result_sealed__isnull=False).update(result_sealed=FORGOTTEN)
    values += calls.filter(~Q(proposed_sealed=None)).update(proposed_sealed=FORGOTTEN)
    Run.objects.filter(id__in=keys).update(prompt_sealed=FORGOTTEN, raw_forgotten_at=now)
    times = [at or until for _, at in found]
    retention.note_raw(policy, runs=len(keys), values=values, first=times[0], last=times[-1], now=now)
    return len(keys)
