"""Approve and remember: a rule made from an approval lets calls like it pass without a person, for a while.

A rule is narrower than the allow-list (`policy.decide` looks at it last), ends by itself, is counted, and is revoked
with one click. What it covers is derived here from the approved call, never sent by a browser. Everything that writes
needs an open transaction.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.db.models import F

from approvals import manifests
from approvals.ballots import check_decide
from approvals.canonical import digest
from approvals.chains import SAME_REPLY
from approvals.constraints import first_unmet, sentence
from approvals.effects import Reversibility, ToolPermission
from approvals.errors import BadRule, RuleOver, RulePastRevoking, UnknownTool
from approvals.gates import needs_transaction
from approvals.models import ApprovalGate, Decision, DecisionKind, ToolRule
from approvals.places import host_of, path_of
from approvals.policy import decide
from approvals.policy_facts import policy_facts, rule_facts
from approvals.presentation import masked_at
from approvals.recorded_calls import PastCall, past_gates
from approvals.states import GateState
from approvals.types import (
    Allow,
    ArgumentConstraint,
    CallFacts,
    ConstraintKind,
    JSONValue,
    ToolFilter,
)
from routekit_site.tenancy.access import check_capability
from routekit_site.tenancy.encryption import seal, unseal
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.roles import Capability
from traces import ledger
from traces.kinds import LedgerKind
from traces.redactors import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import AnonymousUser

    from routekit_site.tenancy.models import User

DEFAULT_TTL = timedelta(hours=24)
MAX_TTL = timedelta(days=30)
MIN_TTL = timedelta(minutes=1)
DEFAULT_MAX_USES = 100
MAX_MAX_USES = 1000
BACK_TEST_LIMIT = 2000
_MAX_SUMMARY = 500
_APPROVED = frozenset({GateState.APPROVED, GateState.SPENT})
_SHORT = 200
_PATH_NAMES = frozenset({"path", "file", "folder", "directory", "filename", "root"})
_FREE_NAMES = frozenset({"content", "text", "body", "data", "message"})


class Reach(StrEnum):
    """How far a rule goes beyond the call that it was made from."""

    EXACT = "exact"
    SIMILAR = "similar"
    ANY = "any"


class Scope(StrEnum):
    """Whose calls a rule covers."""

    AGENT = "agent"
    TENANT = "tenant"


@dataclass(frozen=True)
class Proposal:
    """One generalisation of an approved call, with its back-test over the last 30 days.

    `text` is redacted. Of the calls that came to a gate it would have passed `passed`, of which a person rejected
    `rejected`. `refusal` says why this rule can't be made, and is empty where it can.
    """

    reach: Reach
    text: str
    passed: int
    rejected: int
    refusal: str = ""


@dataclass(frozen=True)
class RuleChoice:
    """What a person chose when they approved and remembered."""

    reach: Reach
    scope: Scope = Scope.AGENT
    ttl: timedelta = DEFAULT_TTL
    max_uses: int = DEFAULT_MAX_USES


def proposals(gate: ApprovalGate, *, now: datetime, scope: Scope = Scope.AGENT) -> tuple[Proposal, ...]:
    """The three rules that could be made from this gate, narrowest first; none for what can't be undone.

    Raises:
        DecryptionFailed: the gate's arguments can't be read.
    """
    if gate.reversibility == Reversibility.IRREVERSIBLE:
        return ()
    arguments = unseal(gate.arguments_sealed)
    past = past_gates(gate.tenant_id, until=now, limit=BACK_TEST_LIMIT, tool=gate.tool)
    return tuple(_proposal(gate, RuleChoice(reach, scope), arguments, past, now) for reach in Reach)


def check_remember(user: User | AnonymousUser, gate: ApprovalGate) -> Decision:
    """The approval of this gate that `user` may make a rule from.

    Raises:
        NotVisible: no member of the gate's tenant.
        NotAllowed: may not make rules, or may not decide this gate (OwnRun for one's own run).
        BadRule: the gate is not approved, or no longer.
    """
    check_capability(user, gate.tenant_id, Capability.MAKE_RULE)
    check_decide(user, gate)
    approvals = Decision.objects.filter(gate_id=gate.id, kind=DecisionKind.APPROVE).standing()
    decision = approvals.in_order().last() if gate.state in _APPROVED else None
    if decision is None:
        raise BadRule("A rule is made from an approval that stands.")
    if not gate.arguments_sealed:
        raise BadRule("The arguments of this call were deleted, because their time was over. Take a newer approval.")
    return decision


def can_remember(user: User | AnonymousUser, gate: ApprovalGate) -> bool:
    """Whether `check_remember` would pass. Which rules can be made is for `proposals` to say."""
    try:
        check_remember(user, gate)
    except (NotVisible, NotAllowed, BadRule):
        return False
    return True


@needs_transaction
def make_rule(gate_id: uuid.UUID, user: User, choice: RuleChoice, *, now: datetime) -> ToolRule:
    """Remember the approval of a gate as a rule, in the ledger too.

    Raises:
        NotVisible, NotAllowed: see `check_remember`; NotVisible for a gate that is not there, too.
        BadRule: not an approval that stands, without an end, or a rule that would never speak.
    """
    gate = ApprovalGate.objects.select_for_update().filter(pk=gate_id).first()
    if gate is None:
        raise NotVisible
    decision = check_remember(user, gate)
    _check_choice(choice)
    arguments = unseal(gate.arguments_sealed)
    rule = _new_rule(gate, choice, arguments, now)
    rule.made_from, rule.made_by = decision, user
    refusal = _refusal(gate, rule, arguments, now)
    if refusal:
        raise BadRule(refusal)
    rule.save(force_insert=True)
    _note(rule, user, now, "made", {"decision": str(decision.id), "reach": choice.reach, "max_uses": choice.max_uses})
    return rule


@needs_transaction
def use(rule_id: str | uuid.UUID, *, now: datetime) -> None:
    """Count one use of a rule, in the transaction that grants the call's permit.

    Raises:
        RuleOver: revoked, expired or used up since the verdict: decide again.
    """
    counted = ToolRule.objects.in_force(now).filter(pk=rule_id).update(uses=F("uses") + 1, last_used_at=now)
    if counted != 1:
        raise RuleOver


@needs_transaction
def give_back(rule_id: str | uuid.UUID) -> None:
    """Take one use back: of the call that it was counted for it is certain that nothing ran."""
    ToolRule.objects.filter(pk=rule_id, uses__gt=0).update(uses=F("uses") - 1)


@needs_transaction
def revoke(rule_id: str | uuid.UUID, user: User, *, now: datetime) -> ToolRule:
    """End a rule now. Whoever may make rules may end any of them: it only makes the house stricter.

    Raises:
        NotVisible: no member of the rule's tenant.
        NotAllowed: a member who may not make rules.
        RulePastRevoking: there is no such rule, or it was revoked before.
    """
    rule = ToolRule.objects.filter(pk=rule_id).first()
    if rule is None:
        raise RulePastRevoking("There is no such rule.")
    check_capability(user, rule.tenant_id, Capability.MAKE_RULE)
    if ToolRule.objects.filter(pk=rule_id, revoked_at=None).update(revoked_at=now, revoked_by=user) != 1:
        raise RulePastRevoking
    rule.revoked_at, rule.revoked_by = now, user
    _note(rule, user, now, "revoked", {"uses": rule.uses})
    return rule


def generalised(
    reach: Reach, arguments: dict[str, JSONValue], schema: dict[str, Any]
) -> tuple[ArgumentConstraint, ...]:
    """The constraints of a rule of this reach, made from one call's canonical arguments.

    exact: these arguments and no others. similar: paths in the same folder, addresses on the same host, contents free,
    all else the same. any: whatever the allow-list takes.
    """
    match reach:
        case Reach.EXACT:
            short = [_exact(name, value) for name, value in sorted(arguments.items()) if _is_short(value)]
            return (*short, ArgumentConstraint(pointer="", kind=ConstraintKind.DIGEST, value=digest(arguments)))
        case Reach.SIMILAR:
            known = schema.get("properties", {})
            return tuple(
                constraint
                for name, value in sorted(arguments.items())
                for constraint in _similar(name, value, known.get(name, {}))
            )
        case Reach.ANY:
            return ()


def _similar(name: str, value: JSONValue, schema: dict[str, Any]) -> Iterator[ArgumentConstraint]:
    pointer = _pointer(name)
    is_text = isinstance(value, str)
    host = host_of(value) if is_text and value.startswith(("http://", "https://")) else None
    if host is not None:
        entry = f"[{host.name}]" if ":" in host.name else host.name
        entry = entry if host.usual_port else f"{entry}:{host.port}"
        yield ArgumentConstraint(pointer=pointer, kind=ConstraintKind.HOST_IN, value=[entry])
    elif is_text and (name in _PATH_NAMES or name.endswith("_path") or schema.get("format") == "path"):
        yield from _same_place(pointer, value)
    elif name not in _FREE_NAMES:
        short = _is_short(value)
        kind = ConstraintKind.EXACT if short else ConstraintKind.DIGEST
        yield ArgumentConstraint(pointer=pointer, kind=kind, value=value if short else digest(value))


def _same_place(pointer: str, value: str) -> Iterator[ArgumentConstraint]:
    """The same folder and what is below it; at the top, where that would be everything, files of the same ending."""
    path = path_of(value)
    if path is None:
        yield ArgumentConstraint(pointer=pointer, kind=ConstraintKind.EXACT, value=value)
    elif len(path.parts) > 1:
        folder = "/" * path.absolute + "/".join(path.parts[:-1])
        yield ArgumentConstraint(pointer=pointer, kind=ConstraintKind.PATH_UNDER, value=folder)
    else:
        ending = path.parts[0].rpartition(".")[2] if path.parts and "." in path.parts[0][1:] else ""
        glob = "/" * path.absolute + (f"*.{ending}" if ending else "*")
        yield ArgumentConstraint(pointer=pointer, kind=ConstraintKind.GLOB, value=glob)


def _exact(name: str, value: JSONValue) -> ArgumentConstraint:
    return ArgumentConstraint(pointer=_pointer(name), kind=ConstraintKind.EXACT, value=value)


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _is_short(value: JSONValue) -> bool:
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and len(value) <= _SHORT)


def _check_choice(choice: RuleChoice) -> None:
    if not MIN_TTL <= choice.ttl <= MAX_TTL:
        raise BadRule("A rule ends after at least a minute and at most 30 days.")
    if not 1 <= choice.max_uses <= MAX_MAX_USES:
        raise BadRule(f"A rule is good for 1 to {MAX_MAX_USES} uses.")


def _new_rule(gate: ApprovalGate, choice: RuleChoice, arguments: dict[str, JSONValue], now: datetime) -> ToolRule:
    try:
        schema = manifests.get(gate.tool).argument_schema
    except UnknownTool:
        schema = {}
    constraints = generalised(choice.reach, arguments, schema)
    stored = [constraint.model_dump(mode="json") for constraint in constraints]
    return ToolRule(
        tenant_id=gate.tenant_id,
        tool=gate.tool,
        agent_id=gate.agent_id if choice.scope is Scope.AGENT else "",
        constraints_sealed=seal(stored),
        summary=_summary(gate, choice, constraints),
        made_at=now,
        expires_at=now + choice.ttl,
        max_uses=choice.max_uses,
    )


def _summary(gate: ApprovalGate, choice: RuleChoice, constraints: tuple[ArgumentConstraint, ...]) -> str:
    who = f"by {gate.agent_name}" if choice.scope is Scope.AGENT else "by any agent"
    match choice.reach:
        case Reach.EXACT:
            text = f"{gate.tool} {who}, with exactly these arguments"
        case Reach.SIMILAR:
            told = ", ".join(sentence(_masked(gate.tenant_id, constraint)) for constraint in constraints)
            text = f"{gate.tool} {who}, with {told or 'any arguments'}"
        case Reach.ANY:
            text = f"{gate.tool} {who}, with any arguments"
    return str(redact(gate.tenant_id, text))[:_MAX_SUMMARY]


def _masked(tenant_id: int, constraint: ArgumentConstraint) -> ArgumentConstraint:
    """The constraint with its value as it is redacted in its place, before a sentence cuts it."""
    return constraint.model_copy(update={"value": masked_at(tenant_id, constraint.pointer, constraint.value)})


def _proposal(
    gate: ApprovalGate, choice: RuleChoice, arguments: dict[str, JSONValue], past: list[PastCall], now: datetime
) -> Proposal:
    rule = _new_rule(gate, choice, arguments, now)
    facts = rule_facts(rule)
    covered = [
        call
        for call in past
        if call.call_id != gate.call_id
        and facts.agent_id in {None, call.call.agent_id}
        and first_unmet(call.call.arguments, facts.constraints) is None
    ]
    rejected = sum(call.rejected for call in covered)
    return Proposal(choice.reach, rule.summary, len(covered), rejected, _refusal(gate, rule, arguments, now))


def _refusal(gate: ApprovalGate, rule: ToolRule, arguments: dict[str, JSONValue], now: datetime) -> str:
    """Why the rule would not let its own call pass under the policy of now, or an empty text.

    A rule that policy would never listen to (a call that can't be undone, that several people have to approve, that
    lies outside what the allow-list takes) would be a promise that the house does not keep.
    """
    if gate.rule.startswith(SAME_REPLY):
        return "This call asked only because others of the same reply did, and no rule stands in for them."
    call = CallFacts(
        tool=gate.tool,
        arguments=arguments,
        permissions=frozenset(map(ToolPermission, gate.permissions)),
        reversibility=Reversibility(gate.reversibility),
        agent_id=gate.agent_id,
    )
    facts = policy_facts(gate.tenant_id, agent_filter=ToolFilter(), now=now)
    verdict = decide(call, replace(facts, rules=(rule_facts(rule),)), now)
    if isinstance(verdict, Allow):
        return ""
    if facts.allowances.get(gate.tool) and facts.allowances[gate.tool].approvers.count > 1:
        return "Calls that several people have to approve are not remembered."
    return f"This can't be remembered: {verdict.reason}."


def _note(rule: ToolRule, user: User, now: datetime, act: str, facts: dict[str, JSONValue]) -> None:
    ledger.append(
        tenant_id=rule.tenant_id,
        kind=LedgerKind.RULE_CHANGE,
        actor=user.get_username(),
        facts={
            "act": act,
            "rule": str(rule.id),
            "tool": rule.tool,
            "agent": rule.agent_id,
            "summary": rule.summary,
            "expires_at": rule.expires_at.isoformat(),
            **facts,
        },
        now=now,
    )
