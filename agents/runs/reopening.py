"""Asks anew about waiting calls whose page was made under an older redaction: by an upgrade, or by a tenant's settings.

Such a page may show what is masked today, and a masked value on it can't be told apart any more. The call stays the
same and keeps its deadline; approvals that were given on the old page don't count for the new one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from agents import integrity, journal
from agents.models import Run, ToolCall
from agents.runs.case import Case, open_case
from agents.runs.recovering import unknown_outcome
from agents.states import CallState
from approvals import gates, manifests
from approvals.binding import change_of, difference
from approvals.errors import NotPresentable, UnknownTool
from approvals.models import ApprovalGate
from approvals.types import Deny, NeedsApproval
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.errors import DecryptionFailed
from traces.kinds import EventKind
from traces.redactors import redactor_version

logger = logging.getLogger(__name__)

BATCH = 100
_SAID = "What is masked has changed since this page was made. The call is the same; approvals have to be given again."


def reopen_outdated(limit: int = BATCH) -> int:
    """Reopen waiting gates whose view is of an older redaction; answers how many. Safe to run twice at once."""
    return sum(_reopen(gate) for gate in _outdated(limit))


def _outdated(limit: int) -> list[ApprovalGate]:
    kinds = ApprovalGate.objects.pending().values_list("tenant_id", "redactor_version").distinct()
    found: list[ApprovalGate] = []
    for tenant_id, version in kinds:
        if version != redactor_version(tenant_id):
            old = ApprovalGate.objects.in_tenant(tenant_id).pending().filter(redactor_version=version)
            found += old.order_by("opened_at", "id")[: limit - len(found)]
    return found


def _reopen(gate: ApprovalGate) -> bool:
    """Ask anew about one gate; False where it can't be, or somebody was faster."""
    now = database_now()
    call = ToolCall.objects.filter(gate=gate, state__in=[CallState.GATED, CallState.UNKNOWN]).first()
    if call is None or gate.decide_by <= now:
        return False
    run = Run.objects.select_related("agent", "submitter").get(pk=call.run_id)
    try:
        request = _request(open_case(run, now), call, gate, now)
    except (UnknownTool, NotPresentable, DecryptionFailed) as error:
        # It stays as it is: it can still be rejected, and nothing of it runs unless all that it shows still holds.
        logger.warning("gate %s can't be asked about anew: %s", gate.pk, type(error).__name__)
        return False
    return request is not None and _replace(run, call, gate, request)


def _request(case: Case, call: ToolCall, gate: ApprovalGate, now: datetime) -> gates.GateRequest | None:
    """What asks about the call under today's redaction and policy; None where policy denies it now."""
    manifest, arguments = manifests.get(call.tool), unseal(gate.arguments_sealed)
    verdict = _verdict(case, call, gate, arguments)
    if verdict is None:
        return None
    verdict = _with_clocks_of(gate, verdict, now)
    plain = case.gate_request(call.id, manifest, arguments, verdict, reopens=gate.pk)
    change = _change(gate.presentation, plain.presentation.data)
    return case.gate_request(call.id, manifest, arguments, verdict, reopens=gate.pk, change=change)


def _verdict(case: Case, call: ToolCall, gate: ApprovalGate, arguments: Mapping[str, Any]) -> NeedsApproval | None:
    verdict = case.verdict(case.call_facts(manifests.get(call.tool), arguments))
    if call.state == CallState.UNKNOWN:
        return unknown_outcome(case, call, verdict)
    if isinstance(verdict, Deny):
        return None
    return case.asked_again(call.tool, verdict, gate, "A person was asked already.")


def _with_clocks_of(gate: ApprovalGate, verdict: NeedsApproval, now: datetime) -> NeedsApproval:
    """The verdict with what is left of the gate's clocks: an upgrade gives nobody more time."""
    left = max(1, int((gate.decide_by - now).total_seconds()))
    approvers = verdict.approvers
    if approvers.escalation_roles:
        after = max(0, int((gate.escalate_at - now).total_seconds())) if gate.escalate_at is not None else left // 2
        approvers = replace(approvers, escalate_after_seconds=after)
    return replace(verdict, approvers=approvers, decide_by_seconds=left, execute_by_seconds=gate.execute_within_seconds)


def _change(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """What is masked otherwise, argument by argument; it holds counts and no value."""
    before = {each["name"]: each["block"]["masked"] for each in old["arguments"]}
    counts = [(each["name"], before.get(each["name"], 0), each["block"]["masked"]) for each in new["arguments"]]
    found = [
        difference("redaction", f"{name}: {was} masked before, {now_masked} now.")
        for name, was, now_masked in counts
        if was != now_masked
    ]
    return change_of([difference("redaction", _SAID), *found])


def _replace(run: Run, call: ToolCall, gate: ApprovalGate, request: gates.GateRequest) -> bool:
    with transaction.atomic(durable=True):
        Run.objects.select_for_update(of=("self",)).get(pk=run.pk)
        now = database_now()
        opened = gates.renew(gate.pk, request, now=now)
        if opened is None:
            return False
        waiting = ToolCall.objects.filter(pk=call.pk, state=call.state, gate_id=gate.pk)
        if waiting.update(gate=opened, mac=integrity.call_mac(call, {"gate_id": opened.pk})) != 1:
            transaction.set_rollback(True)
            return False
        facts = {"tool": call.tool, "asked_anew": str(opened.pk)}
        event = journal.note(run.id, EventKind.NOTE, facts, now=now, call=call, gate_id=opened.pk)
        journal.announce(run, state=run.state, event=event, now=now)
    return True
