"""Makes the row of a new gate out of a request, and refuses a request whose parts are not of one call."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from approvals.binding import digest_of
from approvals.canonical import canonical, digest
from approvals.chains import risk_in_chain
from approvals.errors import BadGateRequest
from approvals.manifests import ToolManifest
from approvals.models import ApprovalGate
from approvals.presentation import Presentation
from approvals.types import Amendment, Binding, NeedsApproval
from routekit_site.tenancy.encryption import fingerprint, seal
from routekit_site.tenancy.models import User
from traces.redactors import redact

_MAX_RULE = 200
_MAX_REASON = 500


@dataclass(frozen=True)
class GateRequest:
    """What is needed to open a gate.

    `manifest` carries the reversibility that counts (a tenant's override included). `reopens` is the
    call's earlier gate; `change` is given with it when that approval no longer held (`Drifted.change`).
    """

    binding: Binding
    manifest: ToolManifest
    verdict: NeedsApproval
    presentation: Presentation
    agent_name: str
    reopens: uuid.UUID | None = None
    change: Mapping[str, Any] | None = None


def new_gate(request: GateRequest, *, nonce: str, now: datetime) -> ApprovalGate:
    """The gate of a request, not saved yet.

    Raises:
        BadGateRequest: manifest, presentation and binding are not of one call.
        NotCanonical: the arguments are not JSON.
    """
    _check_request(request)
    verdict = request.verdict
    return ApprovalGate(
        **_call_columns(request),
        **_verdict_columns(request),
        nonce=nonce,
        opened_at=now,
        decide_by=now + timedelta(seconds=verdict.decide_by_seconds),
        escalate_at=_escalation(verdict, now),
        execute_within_seconds=verdict.execute_by_seconds,
        reopens_id=request.reopens,
        change=dict(request.change) if request.change is not None else None,
    )


def _escalation(verdict: NeedsApproval, now: datetime) -> datetime | None:
    """When the second group is called; None where there is none."""
    if not verdict.approvers.escalation_roles:
        return None
    return now + timedelta(seconds=verdict.approvers.escalate_after_seconds)


def renewed_gate(old: ApprovalGate, request: GateRequest, *, nonce: str, now: datetime) -> ApprovalGate:
    """The gate that shows the same call anew, not saved yet.

    Raises:
        BadGateRequest: the request is of another call, or with other arguments.
        NotCanonical: the arguments are not JSON.
    """
    gate = new_gate(request, nonce=nonce, now=now)
    if not _same_call(old, request) or gate.arguments_fingerprint != old.arguments_fingerprint:
        raise BadGateRequest
    return gate


def _same_call(old: ApprovalGate, request: GateRequest) -> bool:
    binding = request.binding
    same = (binding.tenant_id, binding.run_id, binding.call_id, binding.tool, binding.requester_id)
    return same == (old.tenant_id, old.run_id, old.call_id, old.tool, old.requester_id) and request.reopens == old.pk


def amended_gate(
    old: ApprovalGate, editor: User, amendment: Amendment, request: GateRequest, *, nonce: str, now: datetime
) -> ApprovalGate:
    """The gate of a call whose arguments a reviewer has edited, not saved yet.

    Raises:
        BadGateRequest: the request is not of the old gate's call, or shows no edit.
        NotCanonical: the arguments are not JSON.
    """
    if not _same_call(old, request):
        raise BadGateRequest
    if request.change is None or "edit" not in request.change:
        raise BadGateRequest
    gate = new_gate(request, nonce=nonce, now=now)
    gate.edited_by = editor
    gate.edit_key = amendment.idempotency_key
    gate.edit_fingerprint = amendment.fingerprint
    return gate


def _check_request(request: GateRequest) -> None:
    """Refuse a request whose parts are not of one call: a reviewer would be shown something else than what runs."""
    shown, approvers = request.presentation.data, request.verdict.approvers
    agrees = (
        request.manifest.name == request.binding.tool
        and request.manifest.schema_digest == request.binding.tool_schema_digest
        and shown.get("tool", {}).get("name") == request.binding.tool
        and shown.get("approvers") == approvers.as_shown()
        and shown.get("permissions") == list(request.binding.permissions)
        and shown.get("reversibility", {}).get("class") == request.binding.reversibility
        and digest(shown) == request.presentation.view_digest
        and (request.change is None or request.reopens is not None)
    )
    if not agrees:
        raise BadGateRequest


def _call_columns(request: GateRequest) -> dict[str, Any]:
    binding = request.binding
    return {
        "tenant_id": binding.tenant_id,
        "run_id": binding.run_id,
        "call_id": binding.call_id,
        "agent_id": binding.agent_id,
        "agent_name": request.agent_name,
        "agent_version": binding.agent_version,
        "requester_id": binding.requester_id,
        "tool": binding.tool,
        "tool_schema_digest": binding.tool_schema_digest,
        "arguments_sealed": seal(binding.arguments),
        "arguments_fingerprint": fingerprint(binding.tenant_id, canonical([binding.tool, binding.arguments])),
        "presentation": request.presentation.data,
        "view_digest": request.presentation.view_digest,
        "redactor_version": request.presentation.redactor_version,
        "context_digest": binding.context_digest,
        "policy_digest": binding.policy_digest,
        "sandbox_digest": binding.sandbox_digest,
        "digest": digest_of(binding),
    }


def _verdict_columns(request: GateRequest) -> dict[str, Any]:
    manifest, verdict = request.manifest, request.verdict
    risk = risk_in_chain(manifest, verdict)
    return {
        "level": verdict.level.value,
        "rule": verdict.rule[:_MAX_RULE],
        "reason": str(redact(request.binding.tenant_id, verdict.reason))[:_MAX_REASON],
        "permissions": sorted(permission.value for permission in manifest.permissions),
        "reversibility": manifest.reversibility.value,
        "risk": risk.value,
        "risk_rank": risk.rank,
        "approver_roles": list(verdict.approvers.roles),
        "approvals_needed": verdict.approvers.count,
        "four_eyes": verdict.approvers.four_eyes,
        "approver_expression": verdict.approvers.expression,
        "escalation_roles": list(verdict.approvers.escalation_roles),
    }
