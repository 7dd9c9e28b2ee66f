"""Rows of the approvals floor: the allow-list, rules, gates and decisions. Only `gates.py` moves a gate."""

from __future__ import annotations

from approvals.models.containments import Containment, ContainmentQuerySet
from approvals.models.decisions import Decision, DecisionKind, DecisionQuerySet
from approvals.models.desk import PersonalSettings, SavedFilter, Snooze
from approvals.models.exchanges import Claim, ClaimQuerySet, Remark, RemarkKind, Reveal
from approvals.models.gates import ApprovalGate, ApprovalGateQuerySet
from approvals.models.notices import Notice, NoticeEvent, NoticeReader, NoticeState, WebhookEndpoint
from approvals.models.policies import (
    RecordedCall,
    RecordedCallQuerySet,
    TenantPolicy,
    ToolAllowance,
    ToolRule,
    ToolRuleQuerySet,
    gated_by_default,
)

__all__ = [
    "ApprovalGate",
    "ApprovalGateQuerySet",
    "Claim",
    "ClaimQuerySet",
    "Containment",
    "ContainmentQuerySet",
    "Decision",
    "DecisionKind",
    "DecisionQuerySet",
    "Notice",
    "NoticeEvent",
    "NoticeReader",
    "NoticeState",
    "PersonalSettings",
    "RecordedCall",
    "RecordedCallQuerySet",
    "Remark",
    "RemarkKind",
    "Reveal",
    "SavedFilter",
    "Snooze",
    "TenantPolicy",
    "ToolAllowance",
    "ToolRule",
    "ToolRuleQuerySet",
    "WebhookEndpoint",
    "gated_by_default",
]
