"""Judges the calls that a model proposes and stores them, each with its verdict."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from agents import integrity, journal, turn
from agents.models import Run, ToolCall
from agents.providers.protocol import ProposedCall
from agents.runs.case import Case
from agents.states import CallState
from agents.tools import registry
from agents.tools.base import InvalidArgumentsError
from agents.types import MAX_SAME_REJECTIONS
from approvals import chains, gates, manifests
from approvals.canonical import canonical
from approvals.errors import NotCanonical, NotPresentable, UnknownTool
from approvals.manifests import ToolManifest
from approvals.models import ApprovalGate
from approvals.recorded_calls import record_call
from approvals.types import Allow, CallFacts, Deny, NeedsApproval, Verdict
from routekit_site.tenancy.encryption import fingerprint, seal, unseal
from routekit_site.tenancy.statements import Query, insert, slot
from traces.kinds import EventKind
from traces.redactors import redact

# Rejected calls, and interrupted ones of which a person said that they must not be run again.
_BY_PEOPLE = Q(state=CallState.REJECTED) | Q(state=CallState.FAILED, outcome="rejected")
_REFUSED = Query(lambda: ToolCall.objects.filter(_BY_PEOPLE, run=slot("run")).in_order())
_MAX_NAME = 100
_MASKED_NAME = "masked"
_MAX_CALL_ID = 200
_MAX_REASON = 2000
_MAX_RULE = 200


@dataclass(frozen=True)
class Allowed:
    """The call may run at once."""

    verdict: Allow


@dataclass(frozen=True)
class Gated:
    """The call waits for a person."""

    verdict: NeedsApproval
    request: gates.GateRequest


@dataclass(frozen=True)
class Refused:
    """The call will not run. `code` says why in one word, `told` is what the model is told."""

    state: CallState
    code: str
    level: str
    rule: str
    reason: str
    told: str


Judgement = Allowed | Gated | Refused


@dataclass(frozen=True)
class Proposal:
    """One proposed call, judged. `arguments` are canonical, or the model's own text where they are not valid."""

    id: UUID
    call_id: str
    tool: str
    arguments: dict[str, Any] | str
    fingerprint: str
    judgement: Judgement
    facts: CallFacts | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class _Asked:
    """A call that policy was asked about, by itself; the other calls of its reply count too."""

    id: UUID
    call_id: str
    manifest: ToolManifest
    arguments: dict[str, Any]
    fingerprint: str
    facts: CallFacts
    alone: Verdict


def judge_all(case: Case, proposed: Sequence[ProposedCall]) -> list[Proposal]:
    """Judge a reply's calls. Reads files and asks the policy's callback, so not inside a transaction."""
    if not proposed:
        return []
    earlier = _rejected(case.run)
    judged = [
        _judge(case, call, call_id, earlier)
        for call, call_id in zip(proposed, _unique_ids(case, proposed), strict=True)
    ]
    asked = [each for each in judged if isinstance(each, _Asked)]
    verdicts = iter(chains.together([case.link(each.manifest, each.facts.arguments, each.alone) for each in asked]))
    return [_proposal(case, each, next(verdicts)) if isinstance(each, _Asked) else each for each in judged]


def store_all(case: Case, step: int, proposals: Sequence[Proposal], now: datetime) -> list[ToolCall]:
    """Store judged calls and open the gates that they need. Needs an open transaction."""
    opened = {
        proposal.id: gates.open_gate(proposal.judgement.request, now=now)
        for proposal in proposals
        if isinstance(proposal.judgement, Gated)
    }
    rows = [
        _row(case, step, position, proposal, opened.get(proposal.id)) for position, proposal in enumerate(proposals)
    ]
    insert(rows)
    for proposal in proposals:
        if proposal.facts is not None and proposal.verdict is not None:
            record_call(
                tenant_id=case.run.tenant_id,
                run_id=case.run.id,
                call_id=str(proposal.id),
                call=proposal.facts,
                agent_filter=case.facts.agent_filter,
                verdict=proposal.verdict,
                now=now,
            )
    return rows


def note_verdicts(rows: Sequence[ToolCall], proposals: Sequence[Proposal], now: datetime) -> int:
    """Record what was said of each call; returns the number of the last event."""
    event = 0
    for row, proposal in zip(rows, proposals, strict=True):
        said = {"tool": row.tool, "verdict": _word(proposal.judgement)}
        said |= {"level": row.level, "rule": row.rule, "reason": row.reason}
        event = journal.note(row.run_id, EventKind.POLICY_VERDICT, said, now=now, call=row, gate_id=row.gate_id)
    return event


def is_stubborn(run: Run, proposals: Sequence[Proposal]) -> bool:
    """Whether the model, with these stored proposals, has proposed one rejected call as often as a run may."""
    if not any(_word(proposal.judgement) == "rejected_before" for proposal in proposals):
        return False
    counts = Counter(ToolCall.objects.filter(_BY_PEOPLE, run=run).values_list("tool", "arguments_digest"))
    return any(count >= MAX_SAME_REJECTIONS for count in counts.values())


def _word(judgement: Judgement) -> str:
    match judgement:
        case Allowed():
            return "allow"
        case Gated():
            return "needs_approval"
        case Refused(code=code):
            return code


def _unique_ids(case: Case, proposed: Sequence[ProposedCall]) -> list[str]:
    """The model's call ids, made unique and short: a server may send none, or one twice, or a value in place of one."""
    ids: list[str] = []
    for position, call in enumerate(proposed):
        name = _inert(case, _text(call.call_id), f"call_{position}")[: _MAX_CALL_ID - 12] or f"call_{position}"
        ids.append(name if name not in ids else f"{name}_{uuid.uuid4().hex[:8]}")
    return ids


def _inert(case: Case, name: str, otherwise: str) -> str:
    """A name that the model made up; `otherwise` where a part of it would be redacted: names are kept in clear."""
    return name if redact(case.run.tenant_id, name) == name else otherwise


def _text(text: str) -> str:
    """Text that every database stores: no NUL, no lone surrogate."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _rejected(run: Run) -> dict[tuple[str, str], str]:
    """What the model was told of each call that a person refused in this run, by tool and fingerprint."""
    if not run.steps:
        return {}
    rows = _REFUSED.all(run=run.pk)
    return {(row.tool, row.arguments_digest): str(unseal(row.result_sealed)) for row in rows if row.result_sealed}


def _judge(case: Case, call: ProposedCall, call_id: str, earlier: Mapping[tuple[str, str], str]) -> Proposal | _Asked:
    key, tool = uuid.uuid4(), _text(call.tool)
    manifest = _known(tool)
    if manifest is None:
        tool = _inert(case, tool, _MASKED_NAME)[:_MAX_NAME]
        return _refused(key, call, call_id, tool, code="unknown_tool", problem=_no_such_tool(case, tool))
    try:
        arguments, mark = canonical_call(case, manifest, call.arguments)
    except (InvalidArgumentsError, NotCanonical) as error:
        return _refused(key, call, call_id, tool, code="invalid_arguments", problem=str(error))
    before = _rejected_before(earlier.get((tool, mark)))
    if before is not None:
        return Proposal(key, call_id, tool, arguments, mark, before)
    facts = case.call_facts(manifest, arguments)
    return _Asked(key, call_id, manifest, arguments, mark, facts, case.verdict(facts))


def _proposal(case: Case, asked: _Asked, verdict: Verdict) -> Proposal:
    judgement = _judgement(case, asked.id, asked.manifest, asked.facts, verdict)
    tool, arguments, mark = asked.manifest.name, asked.arguments, asked.fingerprint
    return Proposal(asked.id, asked.call_id, tool, arguments, mark, judgement, asked.facts, verdict)


def _known(tool: str) -> ToolManifest | None:
    try:
        return manifests.get(tool)
    except UnknownTool:
        return None


def canonical_call(case: Case, manifest: ToolManifest, text: str) -> tuple[dict[str, Any], str]:
    """The canonical arguments and their fingerprint.

    Raises:
        InvalidArgumentsError, NotCanonical: the text is no JSON object that the tool takes.
    """
    try:
        written = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise InvalidArgumentsError("the arguments are not valid JSON.") from None
    if not isinstance(written, dict):
        raise InvalidArgumentsError("the arguments must be a JSON object.")
    tool = registry.tool_named(manifest.name)
    if tool is None:
        raise InvalidArgumentsError("the tool is not installed in this worker.")
    arguments = registry.canonical_arguments(tool, written)
    return arguments, fingerprint(case.run.tenant_id, canonical(arguments))


def _rejected_before(told: str | None) -> Refused | None:
    if told is None:
        return None
    reason = "The same call was rejected earlier in this run."
    return Refused(CallState.REJECTED, "rejected_before", "gate", "rejected earlier", reason, told)


def _judgement(case: Case, key: UUID, manifest: ToolManifest, facts: CallFacts, verdict: Verdict) -> Judgement:
    match verdict:
        case Allow():
            return Allowed(verdict)
        case Deny(level, rule, reason):
            return Refused(CallState.DENIED, "deny", level, rule, reason, turn.words_for_denied(reason))
        case NeedsApproval():
            try:
                return Gated(verdict, case.gate_request(key, manifest, facts.arguments, verdict))
            except NotPresentable as error:
                told = turn.words_for_denied(str(error))
                return Refused(CallState.DENIED, "not_presentable", "gate", "presentation", str(error), told)


def _refused(key: UUID, call: ProposedCall, call_id: str, tool: str, *, code: str, problem: str) -> Proposal:
    refusal = Refused(CallState.DENIED, code, "call", code, problem, turn.words_for_invalid(problem))
    return Proposal(key, call_id, tool, _text(call.arguments), "", refusal)


def _no_such_tool(case: Case, tool: str) -> str:
    names = ", ".join(offer.name for offer in case.offers())
    return f'there is no tool called "{tool}". The tools are: {names or "none"}.'


def _row(case: Case, step: int, position: int, proposal: Proposal, gate: ApprovalGate | None) -> ToolCall:
    tenant = case.run.tenant_id
    row = ToolCall(
        id=proposal.id,
        run_id=case.run.id,
        step=step,
        position=position,
        call_id=proposal.call_id,
        tool=proposal.tool,
        arguments_sealed=seal(proposal.arguments),
        arguments_redacted=redact(tenant, proposal.arguments),
        arguments_digest=proposal.fingerprint,
        gate=gate,
    )
    match proposal.judgement:
        case Refused(state, code, level, rule, reason, told):
            row.state, row.outcome = state, code
            row.finished_at = case.now
            row.result_sealed = seal(told)
            row.result_redacted = redact(tenant, told)
            row.result_digest = integrity.digest_of(tenant, told)
        case Allowed(Allow(level, rule, reason)):
            row.state = CallState.PERMITTED
        case Gated(NeedsApproval(level, rule, reason)):
            row.state = CallState.GATED
    row.level, row.rule = level, rule[:_MAX_RULE]
    row.reason = str(redact(tenant, reason))[:_MAX_REASON]
    row.mac = integrity.call_mac(row)
    return row
