"""The vocabulary of policy, shared by every floor above. Pure: pydantic and the standard library only.

The names of the hook models and of their fields are RouteKitAI's, so that a policy written for it reads the same here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from approvals.effects import Reversibility, ToolPermission
from traces.redaction import PIIRedactionHook

JSONValue = Any


class Risk(StrEnum):
    """How much harm a wrong approval can do; derived from reversibility and permissions."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """1 for the lowest, 3 for the highest: what a queue is ordered by."""
        return list(Risk).index(self) + 1


class AllowanceMode(StrEnum):
    """What a tenant's allow-list says of one tool.

    `allow`: without a person. `by_permission`: a person when the tool uses a gated permission. `ask`: always a person.
    """

    ALLOW = "allow"
    BY_PERMISSION = "by_permission"
    ASK = "ask"
    DENY = "deny"


class PolicyModel(BaseModel):
    """Base of all policy models: frozen, and an unknown field is an error rather than a silent hole."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ToolPattern = Annotated[str, Field(min_length=1, max_length=100)]


class ToolFilter(PolicyModel):
    """Which tools may be called at one level. `None` restricts nothing, `[]` allows nothing; a deny beats an allow.

    Entries are case-sensitive tool names or globs such as `fs_*`. `locked_denied_tools` can't be replaced by a lower
    level's filter (only the site-wide filter uses it).
    """

    allowed_tools: tuple[ToolPattern, ...] | None = None
    denied_tools: tuple[ToolPattern, ...] = ()
    locked_denied_tools: tuple[ToolPattern, ...] = ()


class ApprovalGatePolicy(PolicyModel):
    """Which calls need a person. The callback is the dotted path of a function that answers approve, deny or ask."""

    require_approval_for_permissions: tuple[ToolPermission, ...] = (
        ToolPermission.NETWORK,
        ToolPermission.FILESYSTEM,
    )
    approval_callback: str | None = None
    callback_timeout_seconds: float = Field(default=2.0, gt=0, le=30)


class PolicyHooks(PolicyModel):
    """The hooks in force, run in this order: redact, filter, gate."""

    pii_redaction: PIIRedactionHook | None = Field(default_factory=PIIRedactionHook)
    tool_filter: ToolFilter | None = None
    approval_gate: ApprovalGatePolicy | None = Field(default_factory=ApprovalGatePolicy)


class ConstraintKind(StrEnum):
    """How an argument constraint compares (see `ArgumentConstraint`)."""

    EXACT = "exact"
    GLOB = "glob"
    PREFIX = "prefix"
    RANGE = "range"
    ONE_OF = "one_of"
    HOST_IN = "host_in"
    PATH_UNDER = "path_under"
    DIGEST = "digest"


class ArgumentConstraint(PolicyModel):
    """One condition on one argument value: a JSON pointer (RFC 6901) into the canonical arguments, and a comparison.

    `value` by kind: exact any JSON; glob, prefix a string; range `{"min": number, "max": number}`, either may be left
    out; one_of a list; host_in a list of hosts (`example.com`, `*.example.com`, `127.0.0.1:8000`); path_under a folder;
    digest the SHA-256 of the value's canonical JSON (for values too long to keep).
    """

    pointer: str = Field(max_length=500, pattern=r"^(/([^~/]|~[01])*)*$")
    kind: ConstraintKind
    value: JSONValue = None

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The reference tokens of the pointer, unescaped."""
        return tuple(token.replace("~1", "/").replace("~0", "~") for token in self.pointer.split("/")[1:])


@dataclass(frozen=True)
class ApproverRequirement:
    """Who may approve: the roles, how many different people, and whether the submitter is excluded.

    Where there is an `expression` (`approvals.approvers`), it decides; `roles` are those that it names and `count` the
    fewest people that can meet it. People of `escalation_roles` may stand in once `escalate_after_seconds` are over.
    """

    roles: tuple[str, ...] = ("reviewer", "admin")
    count: int = 1
    four_eyes: bool = True
    expression: str = ""
    escalation_roles: tuple[str, ...] = ()
    escalate_after_seconds: int = 0

    def as_shown(self) -> dict[str, JSONValue]:
        """As it stands in the view that every approval is bound to; what is not asked for is left out."""
        shown: dict[str, JSONValue] = {"roles": list(self.roles), "count": self.count, "four_eyes": self.four_eyes}
        if self.expression:
            shown["expression"] = self.expression
        if self.escalation_roles:
            shown["escalation"] = {"roles": list(self.escalation_roles), "after_seconds": self.escalate_after_seconds}
        return shown

    @staticmethod
    def from_shown(shown: Mapping[str, JSONValue]) -> ApproverRequirement:
        """What `as_shown` wrote."""
        escalation = shown.get("escalation", {"roles": (), "after_seconds": 0})
        return ApproverRequirement(
            roles=tuple(shown["roles"]),
            count=shown["count"],
            four_eyes=shown["four_eyes"],
            expression=shown.get("expression", ""),
            escalation_roles=tuple(escalation["roles"]),
            escalate_after_seconds=escalation["after_seconds"],
        )


@dataclass(frozen=True)
class AllowanceFacts:
    """What the tenant's allow-list says of one tool, as plain facts. `contained`: taken out of use by a violation."""

    tool: str
    mode: AllowanceMode
    constraints: tuple[ArgumentConstraint, ...] = ()
    reversibility: Reversibility | None = None
    approvers: ApproverRequirement = ApproverRequirement()
    decide_by_seconds: int = 3600
    execute_by_seconds: int = 900
    contained: bool = False


@dataclass(frozen=True)
class RuleFacts:
    """One "approve and remember" rule, as plain facts; `agent_id` None covers every agent of the tenant.

    `made_at` matters where the past is looked at again: a rule says nothing about calls before it.
    """

    id: str
    tool: str
    agent_id: str | None
    constraints: tuple[ArgumentConstraint, ...]
    expires_at: datetime
    uses_left: int
    made_at: datetime | None = None


@dataclass(frozen=True)
class PolicyFacts:
    """All the policy that applies to one agent's calls at one moment.

    `allowances` maps tool name to the tenant's entry; a tool without an entry is above the ceiling and denied.
    `memo` is where what can be worked out from the other fields is kept (`approvals.shelves`).
    """

    allowances: Mapping[str, AllowanceFacts]
    hooks: PolicyHooks = field(default_factory=PolicyHooks)
    agent_filter: ToolFilter | None = None
    rules: tuple[RuleFacts, ...] = ()
    memo: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)


@dataclass(frozen=True)
class CallFacts:
    """One proposed tool call, with what the trusted manifest says of its tool.

    `arguments` are canonical: validated by the tool's model, paths resolved, hosts normalised.
    """

    tool: str
    arguments: Mapping[str, JSONValue]
    permissions: frozenset[ToolPermission]
    reversibility: Reversibility
    agent_id: str
    callback_answer: Literal["approve", "deny", "ask"] | None = None


class Level(StrEnum):
    """The level of policy that spoke."""

    TENANT = "tenant"
    SITE = "site"
    AGENT = "agent"
    GATE = "gate"
    RULE = "rule"


@dataclass(frozen=True)
class Allow:
    """The call may run without a person."""

    level: Level
    rule: str
    reason: str
    rule_id: str | None = None


@dataclass(frozen=True)
class Deny:
    """The call may not run. `reason` goes back to the model."""

    level: Level
    rule: str
    reason: str


@dataclass(frozen=True)
class Chain:
    """The other calls of a reply that ask a person: their tools, the highest risk, and the strictest approvers."""

    tools: tuple[str, ...]
    risk: Risk
    approvers: ApproverRequirement


@dataclass(frozen=True)
class NeedsApproval:
    """A person must decide. `chain` is what other calls of the same reply made this one ask (`approvals.chains`)."""

    level: Level
    rule: str
    reason: str
    permissions: tuple[ToolPermission, ...] = ()
    approvers: ApproverRequirement = field(default_factory=ApproverRequirement)
    decide_by_seconds: int = 3600
    execute_by_seconds: int = 900
    chain: Chain | None = None


Verdict = Allow | Deny | NeedsApproval


@dataclass(frozen=True)
class Binding:
    """What an approval is bound to; `approvals.binding.digest_of` turns it into the digest.

    What the call may do (`permissions`, sorted, and the `reversibility` that counts) is not part of the digest: the
    view shows it, and every decision's signature covers the view.
    """

    tenant_id: int
    run_id: UUID
    call_id: str
    tool: str
    tool_schema_digest: str
    arguments: Mapping[str, JSONValue]
    requester_id: int
    agent_id: str
    agent_version: int
    policy_digest: str
    sandbox_digest: str
    context_digest: str = ""
    permissions: tuple[str, ...] = ()
    reversibility: str = ""


@dataclass(frozen=True)
class Amendment:
    """What comes with a reviewer's edit: the digests that their page showed, the form's own key, and why.

    `fingerprint` tells two edits apart that come under one key (a keyed fingerprint of all that was sent).
    """

    digest: str
    view_digest: str
    idempotency_key: str
    fingerprint: str
    reason: str = ""


@dataclass(frozen=True)
class Permit:
    """The single-use right to run exactly one call; the sandbox accepts nothing else."""

    id: UUID
    tenant_id: int
    run_id: UUID
    call_id: str
    tool: str
    arguments_digest: str
    digest: str
    nonce: str
    gate_id: UUID | None
    expires_at: datetime
