"""The read side of the job pages: what an agent may do, the transcript of a run. Changes nothing."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.shortcuts import resolve_url
from pydantic import ValidationError

from agents.ceilings import ceiling_of, limits_of
from agents.execution import holds, sandbox_policy, within
from agents.models import Agent, ModelReply, Run, ToolCall
from agents.states import RUN_FINISHED, CallState, RunState
from approvals import pages as approval_pages
from approvals import remarks
from approvals.gates import can_decide, can_take_back, can_view_gate
from approvals.manifests import ToolManifest, all_manifests
from approvals.models import ApprovalGate, RemarkKind
from approvals.policy import decide
from approvals.policy_facts import policy_facts
from approvals.remarks import Said
from approvals.states import GateState
from approvals.types import Allow, CallFacts, Deny, PolicyFacts, ToolFilter
from routekit_site.tenancy.models import User
from routekit_site.tenancy.templatetags.screens import duration, milliseconds

PAGE = 50
_SHORT = 80
_OPEN = {
    CallState.GATED,
    CallState.RUNNING,
    CallState.FAILED,
    CallState.REJECTED,
    CallState.DENIED,
    CallState.UNKNOWN,
    CallState.ANSWERED,
}
_NEVER_RAN = {CallState.DENIED, CallState.REJECTED, CallState.ANSWERED, CallState.EXPIRED, CallState.WITHDRAWN}
_CALL_WORDS = {
    CallState.GATED: "waits for a person",
    CallState.PERMITTED: "may run",
    CallState.UNKNOWN: "outcome unknown",
    CallState.ANSWERED: "answered by a person",
}


@dataclass(frozen=True)
class ToolLine:
    """One tool of an agent and what policy says of it before anything is asked: allow, ask or deny."""

    name: str
    description: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class AgentCard:
    """An agent as the form for a new job shows it."""

    id: int
    name: str
    description: str
    enabled: bool
    chosen: bool
    max_steps: int
    max_cost_microdollars: int
    time_limit: str
    held_by: tuple[tuple[str, str], ...]
    warnings: list[str]
    tools: list[ToolLine]


def agent_cards(tenant_id: int, chosen: str, now: datetime) -> list[AgentCard]:
    """The tenant's agents by name, the usable ones first; the chosen one, or else the first usable, is marked."""
    agents = sorted(Agent.objects.in_tenant(tenant_id), key=lambda agent: (not agent.enabled, agent.name.lower()))
    default = next((agent.pk for agent in agents if agent.enabled), None)
    marked = int(chosen) if chosen.isascii() and chosen.isdigit() and len(chosen) < 19 else default  # noqa: PLR2004 - fits 64 bits
    return [_card(agent, tenant_id, now, chosen=agent.pk == marked) for agent in agents]


def _card(agent: Agent, tenant_id: int, now: datetime, *, chosen: bool) -> AgentCard:
    facts = policy_facts(tenant_id, agent_filter=_filter_of(agent), now=now, agent_id=str(agent.pk))
    held_by, warnings = _box(agent)
    return AgentCard(
        id=agent.pk,
        name=agent.name,
        description=agent.description,
        enabled=agent.enabled,
        chosen=chosen,
        max_steps=agent.max_steps,
        max_cost_microdollars=agent.max_cost_microdollars,
        time_limit=duration(agent.time_limit_seconds),
        held_by=held_by,
        warnings=warnings,
        tools=tool_lines(agent, facts, now),
    )


def _box(agent: Agent) -> tuple[tuple[tuple[str, str], ...], list[str]]:
    """What holds an agent's calls, as (label, text), and what an operator opened that is worth a second thought."""
    try:
        policy = within(sandbox_policy(agent.sandbox), limits_of(ceiling_of(agent.tenant)))
    except ValidationError:
        return (), ["The agent's sandbox can't be read, so its tools won't run. An admin has to look at it."]
    return holds(policy), policy.warnings()


def _filter_of(agent: Agent) -> ToolFilter | None:
    """The agent's own filter. One that can't be read allows nothing: its runs would fail."""
    if agent.tool_filter is None:
        return None
    try:
        return ToolFilter.model_validate(agent.tool_filter)
    except ValidationError:
        return ToolFilter(allowed_tools=())


def tool_lines(agent: Agent, facts: PolicyFacts, now: datetime) -> list[ToolLine]:
    """All tools that exist, with policy's word on a call without arguments; what runs comes first, denied last."""
    lines = [_line(agent, manifest, facts, now) for manifest in all_manifests()]
    return sorted(lines, key=lambda line: (("allow", "ask", "deny").index(line.verdict), line.name))


def _line(agent: Agent, manifest: ToolManifest, facts: PolicyFacts, now: datetime) -> ToolLine:
    call = CallFacts(
        tool=manifest.name,
        arguments={},
        permissions=manifest.permissions,
        reversibility=manifest.reversibility,
        agent_id=str(agent.pk),
    )
    verdict = decide(call, facts, now)
    allowance = facts.allowances.get(manifest.name)
    if isinstance(verdict, Deny) and allowance is not None and allowance.constraints and verdict.level == "tenant":
        # Without arguments a constraint can't hold: what it says depends on the call.
        word, reason = "ask", "within the limits of the allow-list"
    else:
        word = "allow" if isinstance(verdict, Allow) else "deny" if isinstance(verdict, Deny) else "ask"
        reason = verdict.reason
    return ToolLine(manifest.name, manifest.description, word, reason)


def wait_words(tenant_id: int, now: datetime) -> str:
    """How long approvals take in this tenant lately."""
    seconds = approval_pages.seconds_to_decision(tenant_id, now)
    return (
        "none decided here in the last two weeks"
        if seconds is None
        else f"half of them within {duration(seconds)}, lately"
    )


@dataclass(frozen=True)
class FieldView:
    """One value of a call's arguments or result, as text; `long` texts get a box of their own."""

    name: str
    text: str
    long: bool


@dataclass(frozen=True)
class CallView:
    """One tool call in the transcript. Texts are redacted."""

    id: str
    tool: str
    state: str
    state_text: str
    gist: str
    arguments: list[FieldView]
    reason: str
    gate_text: str
    gate_url: str
    edited: str
    result: list[FieldView]
    never_ran: bool
    ran: str
    open: bool


@dataclass(frozen=True)
class StepView:
    """One reply of the model and the calls it proposed."""

    number: int
    text: str
    calls: list[CallView] = field(default_factory=list)


@dataclass(frozen=True)
class WaitView:
    """A gate at which the run waits, with the address of its page for those who may see it."""

    id: str
    sentence: str
    approvers: str
    decide_by: datetime
    url: str
    can_decide: bool
    said: list[Said]
    open_question: bool
    can_answer: bool
    can_take_back: bool
    remark_key: str


def run_page(run: Run, user: User) -> dict[str, Any]:
    """What the template of a run needs."""
    replies = list(ModelReply.objects.filter(run=run).order_by("step"))
    calls = list(ToolCall.objects.filter(run=run).select_related("gate", "edited_by").in_order())
    finished = run.state in RUN_FINISHED
    return {
        "run": run,
        "finished": finished,
        "limit": duration(run.time_limit_seconds),
        "tokens": f"{run.input_tokens + run.output_tokens:,}",
        "waits": [] if finished else waits_of(run, user),
        "steps": _without_answer(steps_of(replies, calls, user), run.output_redacted),
        "place": "jobs",
    }


def run_facts(run: Run, user: User) -> dict[str, Any]:
    """One run for a program: where it stands, its steps (redacted) and what it waits for. JSON-ready."""
    page = run_page(run, user)
    return {
        "id": str(run.id),
        "state": run.state,
        "agent": run.agent.name,
        "submitter": run.submitter.display_name,
        "prompt": run.prompt_redacted,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "worked_milliseconds": run.worked_milliseconds,
        "waited_milliseconds": run.waited_milliseconds,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cost_microdollars": run.cost_microdollars,
        "output": run.output_redacted,
        "error": {"kind": run.error_kind, "message": run.error_message} if run.error_kind else None,
        "steps": [asdict(step) for step in page["steps"]],
        "waits": [asdict(wait) for wait in page["waits"]],
    }


def waits_of(run: Run, user: User) -> list[WaitView]:
    """The gates that hold the run up."""
    return [_wait(gate, user) for gate in approval_pages.open_of_run(run.id)]


def _wait(gate: ApprovalGate, user: User) -> WaitView:
    said = remarks.of_gate(gate)
    return WaitView(
        id=str(gate.id),
        sentence=approval_pages.sentence_of(gate),
        approvers=approval_pages.approvers(gate),
        decide_by=gate.decide_by,
        url=resolve_url("gate", gate.id) if can_view_gate(user, gate) else "",
        can_decide=can_decide(user, gate),
        said=said,
        open_question=any(each.open for each in said),
        can_answer=remarks.can_remark(user, gate, RemarkKind.ANSWER),
        can_take_back=can_take_back(user, gate),
        remark_key=uuid.uuid4().hex,
    )


def steps_of(replies: Sequence[ModelReply], calls: Sequence[ToolCall], user: User) -> list[StepView]:
    """The transcript: each reply with its calls, in order."""
    by_step: dict[int, list[CallView]] = defaultdict(list)
    for call in calls:
        by_step[call.step].append(_call(call, user))
    texts = {reply.step: reply.text_redacted for reply in replies}
    return [StepView(step, texts.get(step, ""), by_step[step]) for step in sorted({*texts, *by_step})]


def _without_answer(steps: list[StepView], answer: str) -> list[StepView]:
    """The last step says what the answer says: shown once, as the answer."""
    ends_in_answer = bool(steps and answer and steps[-1].text == answer and not steps[-1].calls)
    return steps[:-1] if ends_in_answer else steps


def _call(call: ToolCall, user: User) -> CallView:
    state = CallState(call.state)
    return CallView(
        id=str(call.id),
        tool=call.tool,
        state=call.state,
        state_text=_CALL_WORDS.get(state, state.value),
        gist=_gist(call),
        arguments=fields_of(call.arguments_redacted, "as proposed"),
        reason=call.reason,
        gate_text=_gate_words(call.gate) if call.gate else "",
        gate_url=resolve_url("gate", call.gate.id) if call.gate and can_view_gate(user, call.gate) else "",
        edited=f"{call.edited_by.display_name} edited the arguments." if call.edited_by else "",
        result=fields_of(call.result_redacted, "result"),
        never_ran=state in _NEVER_RAN,
        ran=_ran(call),
        open=state in _OPEN,
    )


def _gist(call: ToolCall) -> str:
    """The call in a line: its gate's sentence, or else its arguments."""
    if call.gate is not None:
        return approval_pages.sentence_of(call.gate)
    proposed = call.arguments_redacted
    if not proposed:
        return ""
    return (proposed if isinstance(proposed, str) else json.dumps(proposed, ensure_ascii=False))[:200]


def _gate_words(gate: ApprovalGate) -> str:
    if gate.state == GateState.PENDING:
        return f"Waits for {approval_pages.approvers(gate)}."
    verb = "approved" if gate.state == GateState.SPENT else gate.state
    return f"{verb.capitalize()} {approval_pages.outcome(gate)}"


def fields_of(value: Any, name: str) -> list[FieldView]:
    """A stored JSON value as fields: an object's members, or the whole under `name`; none for None."""
    if value is None:
        return []
    members = value if isinstance(value, dict) else {name: value}
    texts = {str(key): _text(member) for key, member in members.items()}
    return [FieldView(key, text, "\n" in text or len(text) > _SHORT) for key, text in texts.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _ran(call: ToolCall) -> str:
    """How it ran: "took 12 ms, in tier kernel, second attempt"."""
    if call.started_at is None or call.finished_at is None:
        return ""
    took = int((call.finished_at - call.started_at).total_seconds() * 1000)
    parts = [f"Took {milliseconds(took)}"]
    if call.tier:
        parts.append(f"sandbox tier {call.tier}")
    if call.attempts > 1:
        parts.append(f"attempt {call.attempts}")
    return ", ".join(parts)


def run_states() -> list[str]:
    """All states of a run, for the filter."""
    return [state.value for state in RunState]
