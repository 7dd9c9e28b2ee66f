"""Moves the HMACs of unfinished runs to the newest key, so that an old one can be dropped from the ring."""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from django.db import transaction

from agents import integrity
from agents.errors import StateChanged
from agents.models import ModelReply, Run, ToolCall
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed


def reseal(run_id: UUID) -> None:
    """Check one run, its replies and its calls, and sign them under the newest key. Needs an open transaction.

    Raises:
        StateChanged: a row is not as the application wrote it; nothing of the run is signed anew.
        DecryptionFailed: no key opens a value of it.
    """
    run = Run.objects.select_for_update(of=("self",)).get(pk=run_id)
    integrity.check_run(run)
    calls: dict[int, list[ToolCall]] = defaultdict(list)
    for call in ToolCall.objects.filter(run=run).in_order():
        integrity.check_call(call)
        calls[call.step].append(call)
        ToolCall.objects.filter(pk=call.pk).update(mac=integrity.call_mac(call))
    for reply in ModelReply.objects.filter(run=run):
        text, its = str(unseal(reply.text_sealed)), calls[reply.step]
        integrity.check_reply(reply, text, its)
        ModelReply.objects.filter(pk=reply.pk).update(mac=integrity.reply_mac(reply, text, its))
    Run.objects.filter(pk=run.pk).update(mac=integrity.run_mac(run))


def reseal_all() -> list[UUID]:
    """`reseal` every unfinished run, each in a transaction of its own; answers with those that could not be."""
    failed = []
    for run_id in list(Run.objects.unfinished().order_by("created_at").values_list("pk", flat=True)):
        try:
            with transaction.atomic(durable=True):
                reseal(run_id)
        except (StateChanged, DecryptionFailed):
            failed.append(run_id)
    return failed
