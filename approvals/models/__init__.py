"""Rows of the approvals floor: the allow-list, rules, gates and decisions. Only `gates.py` moves a gate."""

from __future__ import annotations

from approvals import desk_models, notice_models  # noqa: F401 - Django finds an app's models through this module
from approvals.models.decisions import Decision, DecisionKind, DecisionQuerySet
from approvals.models.gates import ApprovalGate, ApprovalGateQuerySet
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
    "Decision",
    "DecisionKind",
    "DecisionQuerySet",
    "RecordedCall",
    "RecordedCallQuerySet",
    "TenantPolicy",
    "ToolAllowance",
    "ToolRule",
    "ToolRuleQuerySet",
    "gated_by_default",
]
