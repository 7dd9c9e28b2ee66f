"""The facts of calls that were proposed: written once at proposal, read again for simulations and back-tests.

The agents floor calls `record_call` for each proposed call, in the transaction that stores it. A verdict that asks a
person writes nothing: the gate itself keeps that call's facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from approvals import manifests
from approvals.canonical import thawed
from approvals.chains import SAME_REPLY
from approvals.effects import Reversibility, ToolPermission
from approvals.errors import UnknownTool
from approvals.models import ApprovalGate, RecordedCall
from approvals.states import GateState
from approvals.types import (
    Allow,
    CallFacts,
    Deny,
    NeedsApproval,
    ToolFilter,
    Verdict,
)
from routekit_site.tenancy.encryption import seal, unseal
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.statements import insert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

WINDOW = timedelta(days=30)
_ANSWERS: dict[str, Literal["approve", "deny", "ask"]] = {"approve": "approve", "deny": "deny", "ask": "ask"}

# What a verdict is called where it is stored or shown.
VERDICT_NAMES: dict[type[Verdict], str] = {Allow: "allow", Deny: "deny", NeedsApproval: "ask"}


@dataclass(frozen=True)
class PastCall:
    """A call as it was proposed, with the verdict of that day.

    `verdict` is allow, deny or ask; `rejected` says that a person was asked and rejected it. `agent_filter` is the
    filter of the agent at that time; a call that came to a gate had passed it, so there it is one that lets all pass.
    """

    call: CallFacts
    at: datetime
    run_id: UUID
    call_id: str
    agent_filter: ToolFilter | None
    verdict: str
    level: str
    rule: str
    rejected: bool = False


def record_call(
    *,
    tenant_id: int,
    run_id: UUID,
    call_id: str,
    call: CallFacts,
    agent_filter: ToolFilter | None,
    verdict: Verdict,
    now: datetime,
) -> None:
    """Keep the facts of one proposed call. The same call twice is one record."""
    if isinstance(verdict, NeedsApproval):
        return
    insert(
        [
            RecordedCall(
                tenant_id=tenant_id,
                run_id=run_id,
                call_id=call_id,
                at=now,
                tool=call.tool,
                agent_id=call.agent_id,
                agent_filter=None if agent_filter is None else agent_filter.model_dump(mode="json"),
                arguments_sealed=seal(thawed(call.arguments)),
                permissions=sorted(call.permissions),
                reversibility=call.reversibility,
                callback_answer=call.callback_answer or "",
                verdict=VERDICT_NAMES[type(verdict)],
                level=verdict.level,
                rule=verdict.rule,
            )
        ],
        ignore_conflicts=True,
    )


def forget(now: datetime, limit: int = 1000) -> int:
    """Delete up to `limit` records that are older than anything looks back; returns how many."""
    old = RecordedCall.objects.filter(at__lt=now - WINDOW).values_list("pk", flat=True)[:limit]
    return RecordedCall.objects.filter(pk__in=list(old)).delete()[0]


def past_calls(tenant_id: int, *, until: datetime, limit: int) -> list[PastCall]:
    """The newest `limit` calls of the 30 days before `until`, newest first: those decided by policy and those gated."""
    recorded = _recorded(tenant_id, until, limit)
    gated = past_gates(tenant_id, until=until, limit=limit)
    return sorted((*recorded, *gated), key=lambda past: (past.at, past.call_id), reverse=True)[:limit]


def past_gates(tenant_id: int, *, until: datetime, limit: int, tool: str | None = None) -> list[PastCall]:
    """The calls of the 30 days before `until` that came to a gate, newest first. A re-opened gate counts once."""
    rows = ApprovalGate.objects.filter(tenant_id=tenant_id, opened_at__gte=until - WINDOW, opened_at__lt=until)
    if tool is not None:
        rows = rows.filter(tool=tool)
    by_call: dict[str, PastCall] = {}
    for row in rows.order_by("-opened_at", "-id")[:limit].iterator(chunk_size=500):
        past = _of_gate(row)
        if past is not None:
            by_call.setdefault(past.call_id, past)
    return list(by_call.values())


def _recorded(tenant_id: int, until: datetime, limit: int) -> Iterator[PastCall]:
    rows = RecordedCall.objects.filter(tenant_id=tenant_id).between(until - WINDOW, until).order_by("-at", "-id")
    filters: dict[str, ToolFilter | None] = {"None": None}
    for row in rows[:limit].iterator(chunk_size=500):
        arguments = _opened(row.arguments_sealed)
        if arguments is None:
            continue
        key = repr(row.agent_filter)
        if key not in filters:
            filters[key] = ToolFilter.model_validate(row.agent_filter)
        yield PastCall(
            call=CallFacts(
                tool=row.tool,
                arguments=arguments,
                permissions=frozenset(map(ToolPermission, row.permissions)),
                reversibility=Reversibility(row.reversibility),
                agent_id=row.agent_id,
                callback_answer=_ANSWERS.get(row.callback_answer),
            ),
            at=row.at,
            run_id=row.run_id,
            call_id=row.call_id,
            agent_filter=filters[key],
            verdict=row.verdict,
            level=row.level,
            rule=row.rule,
        )


def _of_gate(gate: ApprovalGate) -> PastCall | None:
    arguments = _opened(gate.arguments_sealed)
    if arguments is None:
        return None
    return PastCall(
        call=CallFacts(
            tool=gate.tool,
            arguments=arguments,
            permissions=frozenset(map(ToolPermission, gate.permissions)),
            reversibility=_declared(gate, arguments),
            agent_id=gate.agent_id,
        ),
        at=gate.opened_at,
        run_id=gate.run_id,
        call_id=gate.call_id,
        agent_filter=ToolFilter(),
        # A call that asked only because others of its reply did: policy, by itself, would have let it run.
        verdict="allow" if gate.rule.startswith(SAME_REPLY) else "ask",
        level=gate.level,
        rule=gate.rule,
        rejected=gate.state == GateState.REJECTED,
    )


def _declared(gate: ApprovalGate, arguments: dict[str, object]) -> Reversibility:
    """The tool's own class: the gate's has the tenant's override in it, which a draft may take away."""
    try:
        return manifests.get(gate.tool).reversibility_for(arguments)
    except UnknownTool:
        return Reversibility(gate.reversibility)


def _opened(sealed: bytes | memoryview) -> dict[str, object] | None:
    """The arguments, or None where their key is gone: what nobody can read any more is not simulated."""
    try:
        arguments = unseal(sealed)
    except DecryptionFailed:
        return None
    return arguments if isinstance(arguments, dict) else None
