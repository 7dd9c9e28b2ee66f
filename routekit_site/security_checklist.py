"""The eight items of RouteKitAI's security checklist, each checked against what is configured now, for one tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings

from agents.models import Agent
from approvals.effects import ToolPermission
from approvals.manifests import ToolManifest, all_manifests
from approvals.models import ToolAllowance
from approvals.policy_facts import tenant_policy
from approvals.types import AllowanceMode
from routekit_site.tenancy.models import Membership, Tenant
from routekit_site.tenancy.roles import CAPABILITIES, Capability
from traces.pasted_secrets import holds_secret
from traces.policy_reviews import latest_review
from traces.protection import protection, redaction_hook

_HIGH_RISK = (ToolPermission.NETWORK, ToolPermission.FILESYSTEM)
_WEEK, _DAY, _HOUR = 7 * 24 * 3600, 24 * 3600, 3600


@dataclass(frozen=True)
class Item:
    """One item: what was found, and how to mend it when it does not hold. `link` is a page where it is mended."""

    key: str
    title: str
    holds: bool
    found: str
    mend: str
    link: str = ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _sentence(parts: list[str]) -> str:
    joined = "; ".join(parts)
    return f"{joined[:1].upper()}{joined[1:]}."


def _redaction(tenant: Tenant, now: datetime) -> Item:
    del now
    hook = redaction_hook(tenant.pk)
    kinds = ("emails", "phones", "secrets", "cards", "ids")
    off = [kind for kind in kinds if not getattr(hook, f"redact_{kind}")]
    found = f"Not redacted: {_listed(off)}." if off else "E-mails, phones, secrets, cards and ids are redacted."
    mend = "Switch every kind on. What was stored meanwhile stays as it is."
    link = "admin:traces_redactionpolicy_changelist"
    return Item("redaction", "PII redaction enabled", not off, found, mend, link)


def _modes(tenant: Tenant) -> dict[str, ToolAllowance]:
    return {row.tool: row for row in ToolAllowance.objects.filter(tenant=tenant)}


def _deny_lists(tenant: Tenant, now: datetime) -> Item:
    del now
    rows = _modes(tenant)
    offered = {name for name, row in rows.items() if row.mode != AllowanceMode.DENY}
    denied = {manifest.name for manifest in all_manifests()} - offered
    site = settings.ROUTEKIT_TOOL_FILTER
    blocked = set(site.denied_tools or ()) | set(site.locked_denied_tools or ()) if site else set()
    found = f"Denied here: {_listed(denied)}. Denied for the whole site: {_listed(blocked)}."
    mend = "Set tools that nobody needs to deny, deleting first; a tool that is not on the list is denied as well."
    link = "admin:approvals_toolallowance_changelist"
    return Item("deny-lists", "Tool deny lists configured", bool(denied or blocked), found, mend, link)


def _unguarded(manifest: ToolManifest, row: ToolAllowance) -> bool:
    """Whether calls of a tool that reaches files or the network pass without a person and without constraints."""
    risky = bool(set(_HIGH_RISK) & set(manifest.permissions))
    return risky and row.mode == AllowanceMode.ALLOW and not row.constraints


def _gates(tenant: Tenant, now: datetime) -> Item:
    del now
    gated = set(tenant_policy(tenant.pk).require_approval_for_permissions)
    open_permissions = [permission.value for permission in _HIGH_RISK if permission.value not in gated]
    rows = _modes(tenant)
    open_tools = [m.name for m in all_manifests() if m.name in rows and _unguarded(m, rows[m.name])]
    holds = not open_permissions and not open_tools
    found = (
        "Network and filesystem ask a person."
        if holds
        else f"Permissions that nobody is asked about: {_listed(open_permissions)}. "
        f"Tools allowed without a person or a constraint: {_listed(open_tools)}."
    )
    mend = "Gate both permissions in the tenant's policy, and give every allowed tool constraints."
    link = "admin:approvals_tenantpolicy_changelist"
    return Item("gates", "Approval gates for high-risk permissions", holds, found, mend, link)


def _timeouts(tenant: Tenant, now: datetime) -> Item:
    del now
    policy = tenant_policy(tenant.pk)
    long_agents = [a.name for a in Agent.objects.in_tenant(tenant.pk) if a.time_limit_seconds > _DAY]
    wrong = []
    if policy.decide_by_seconds > _WEEK:
        wrong.append("calls wait for more than a week")
    if policy.execute_by_seconds > _DAY:
        wrong.append("approvals stay usable for more than a day")
    if long_agents:
        wrong.append(f"agents work for more than a day: {_listed(long_agents)}")
    clocks = (
        f"Calls expire after {policy.decide_by_seconds / _HOUR:g} h, unused approvals after "
        f"{policy.execute_by_seconds / 60:g} min, and every agent has a limit."
    )
    found = f"Too long: {'; '.join(wrong)}." if wrong else clocks
    mend = "Shorten the clocks in the tenant's policy and the agents' time limits."
    return Item(
        "timeouts", "Timeouts set appropriately", not wrong, found, mend, "admin:approvals_tenantpolicy_changelist"
    )


def _keys(tenant: Tenant, now: datetime) -> Item:
    del now
    fields = ("instructions", "description", "model", "sandbox", "tool_filter")
    leaking = [
        agent.name
        for agent in Agent.objects.in_tenant(tenant.pk)
        if any(holds_secret(value) for value in (getattr(agent, field) for field in fields) if value)
    ]
    wrong = [f"a live-looking key stands in the settings of: {_listed(leaking)}"] if leaking else []
    if settings.DEMO:
        wrong.append("demo mode makes its own keys and has public passwords")
    found = (
        _sentence(wrong)
        if wrong
        else "Keys come from the environment or from files; none stands in an agent's settings, and none is taken in a "
        "prompt or a field."
    )
    mend = "Take keys out of agents' fields and renew them; outside of a trial, run without ROUTEKIT_DEMO."
    return Item("keys", "API keys stored securely", not wrong, found, mend, "admin:agents_agent_changelist")


def _traces(tenant: Tenant, now: datetime) -> Item:
    del now
    guard = protection(tenant.pk)
    wrong = [] if guard.append_only else ["the database's append-only guard is missing"]
    if guard.trace_days is None and not guard.legal_hold:
        wrong.append("traces are kept for ever")
    kept = "under legal hold" if guard.legal_hold else f"kept for {guard.trace_days} days"
    found = (
        f"Not protected: {'; '.join(wrong)}."
        if wrong
        else f"Redacted before storage, append-only, {kept}{', encrypted at rest' if guard.encrypted else ''}."
    )
    mend = "Set how long traces are kept; run manage.py migrate where the guard is missing."
    return Item("traces", "Trace files protected", not wrong, found, mend, "admin:traces_retentionpolicy_changelist")


def _powerful(tenant: Tenant) -> list[Membership]:
    roles = [role for role, held in CAPABILITIES.items() if held & {Capability.DECIDE_GATE, Capability.MANAGE_POLICY}]
    found = Membership.objects.select_related("user").filter(tenant=tenant, role__in=roles, user__is_active=True)
    return list(found)


def _access(tenant: Tenant, now: datetime) -> Item:
    del now
    people = {membership.user_id: membership.user.get_username() for membership in _powerful(tenant)}
    factors = Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN
    strong = set(Authenticator.objects.filter(user_id__in=people, type__in=factors).values_list("user_id", flat=True))
    strong |= set(SocialAccount.objects.filter(user_id__in=people).values_list("user_id", flat=True))
    weak = [name for pk, name in people.items() if pk not in strong]
    wrong = [f"with a password alone sign in: {_listed(weak)}"] if weak else []
    if len(people) < 2:  # noqa: PLR2004 - four eyes belong to two people
        wrong.append("fewer than two people can approve, so four-eyes leaves nobody")
    found = _sentence(wrong) if wrong else f"All {len(people)} who approve or set policy have a second factor."
    mend = "Each of them adds an authenticator app or a passkey under Your account."
    return Item("access", "Access control implemented", not wrong, found, mend, "account")


def _reviews(tenant: Tenant, now: datetime) -> Item:
    review = latest_review(tenant.pk)
    if review is None:
        found = "Nobody has reviewed the policy yet."
    else:
        late = "was due" if review.next_due <= now else "is due"
        found = (
            f"{review.by} reviewed it on {review.at:%d %B %Y}; the next review {late} on {review.next_due:%d %B %Y}."
        )
    holds = review is not None and review.next_due > now
    mend = "Look through allow-list, policy, agents and members, then note the review below."
    return Item("reviews", "Regular security reviews scheduled", holds, found, mend)


CHECKS: tuple[Callable[[Tenant, datetime], Item], ...] = (
    _redaction,
    _deny_lists,
    _gates,
    _timeouts,
    _keys,
    _traces,
    _access,
    _reviews,
)


def checklist(tenant: Tenant, now: datetime) -> list[Item]:
    """All eight items, as they stand now."""
    return [check(tenant, now) for check in CHECKS]
