"""A tenant's allow-list: checked before it is saved, noted in the ledger when it changes, carried as JSON.

What is written here needs an open transaction; `note_change` is the last thing in it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from approvals import manifests
from approvals.approvers import parsed
from approvals.constraint_checks import checked
from approvals.effects import Reversibility
from approvals.errors import BadAllowList, BadConstraint, BadExpression, UnknownTool
from approvals.gates import needs_transaction
from approvals.models import TenantPolicy, ToolAllowance
from approvals.policy_facts import APPROVER_ROLES
from approvals.types import AllowanceMode, JSONValue, PolicyModel
from traces import ledger
from traces.kinds import LedgerKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from routekit_site.tenancy.models import User

FORMAT = 1
MAX_APPROVALS = 5
MIN_CLOCK = timedelta(seconds=10)
MAX_CLOCK = timedelta(days=30)
MAX_HOLD_SECONDS = 600
Clock = Annotated[int, Field(ge=MIN_CLOCK.total_seconds(), le=MAX_CLOCK.total_seconds())]

_FIELDS = (
    "tool",
    "mode",
    "constraints",
    "reversibility",
    "approver_roles",
    "approvals_needed",
    "approver_expression",
    "four_eyes",
    "decide_by_seconds",
    "execute_by_seconds",
)
_POLICY_FIELDS = (
    "require_approval_for_permissions",
    "approval_callback",
    "approval_hold_seconds",
    "rejection_hold_seconds",
    "decide_by_seconds",
    "execute_by_seconds",
    "escalation_roles",
)


class Entry(PolicyModel):
    """One entry of an exported allow-list."""

    tool: str = Field(max_length=100)
    mode: AllowanceMode
    constraints: tuple[Any, ...] = ()
    reversibility: Reversibility | None = None
    approver_roles: tuple[str, ...] = ()
    approvals_needed: int = Field(default=1, ge=1, le=MAX_APPROVALS)
    approver_expression: str = Field(default="", max_length=200)
    four_eyes: bool = True
    decide_by_seconds: Clock | None = None
    execute_by_seconds: Clock | None = None


class AllowListFile(PolicyModel):
    """An exported allow-list."""

    version: int = Field(ge=FORMAT, le=FORMAT)
    tools: tuple[Entry, ...]


def problems(row: ToolAllowance) -> dict[str, list[str]]:
    """What is wrong with an entry that is about to be saved, by field."""
    found: dict[str, list[str]] = {}
    schema = None
    try:
        schema = manifests.get(row.tool).argument_schema
    except UnknownTool as error:
        known = ", ".join(manifest.name for manifest in manifests.all_manifests())
        found["tool"] = [f"{error} Known tools: {known}."]
    try:
        constraints = checked(row.constraints, argument_schema=schema)
    except BadConstraint as error:
        found["constraints"] = list(error.problems)
    else:
        if constraints and row.mode == AllowanceMode.DENY:
            found["constraints"] = ["A denied tool takes no constraints: nothing of it is let through."]
    found |= _bad_approvers(row)
    for name in ("decide_by_seconds", "execute_by_seconds"):
        clock_problem = bad_clock(getattr(row, name))
        if clock_problem:
            found[name] = [clock_problem]
    return found


def _bad_approvers(row: ToolAllowance) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    strangers = sorted(set(row.approver_roles or ()) - set(APPROVER_ROLES))
    if strangers:
        found["approver_roles"] = [f"{', '.join(strangers)} can't approve. Who can: {', '.join(APPROVER_ROLES)}."]
    if not 1 <= (row.approvals_needed or 0) <= MAX_APPROVALS:
        found["approvals_needed"] = [f"Between 1 and {MAX_APPROVALS} people have to approve."]
    if row.approver_expression:
        try:
            parsed(row.approver_expression, APPROVER_ROLES)
        except BadExpression as error:
            found["approver_expression"] = [str(error)]
    return found


def bad_clock(seconds: int | None) -> str:
    """What is wrong with a clock, or an empty text."""
    if seconds is None or MIN_CLOCK <= timedelta(seconds=seconds) <= MAX_CLOCK:
        return ""
    return "A clock runs for 10 seconds to 30 days."


def snapshot(row: ToolAllowance) -> dict[str, JSONValue]:
    """An entry as JSON: what is exported, compared and noted."""
    values = {name: getattr(row, name) for name in _FIELDS}
    return values | {"mode": str(row.mode), "reversibility": str(row.reversibility) or None}


def policy_snapshot(row: TenantPolicy) -> dict[str, JSONValue]:
    """A tenant's policy as JSON."""
    return {name: getattr(row, name) for name in _POLICY_FIELDS}


def differences(before: Mapping[str, JSONValue], after: Mapping[str, JSONValue]) -> list[str]:
    """The fields that differ, each as "mode: ask → allow"."""
    names = [name for name in (*before, *after) if before.get(name) != after.get(name)]
    return [f"{name}: {before.get(name)} → {after.get(name)}" for name in dict.fromkeys(names)]


def exported(tenant_id: int) -> dict[str, JSONValue]:
    """The tenant's allow-list as JSON, in the shape that `read` takes."""
    rows = ToolAllowance.objects.filter(tenant_id=tenant_id).order_by("tool")
    return {"version": FORMAT, "tools": [snapshot(row) for row in rows]}


def read(tenant_id: int, raw: JSONValue) -> list[ToolAllowance]:
    """The entries that an exported file spells, not saved.

    Raises:
        BadAllowList: with every problem; each names the tool and the field.
    """
    try:
        file = AllowListFile.model_validate(raw)
    except ValidationError as error:
        raise BadAllowList([f"{_place(item['loc'])}: {item['msg']}." for item in error.errors()]) from None
    rows = [_row(tenant_id, entry) for entry in file.tools]
    found = [f"{row.tool}, {name}: {text}" for row in rows for name, texts in problems(row).items() for text in texts]
    names = [row.tool for row in rows]
    found += [f"{name}: named more than once." for name in sorted({name for name in names if names.count(name) > 1})]
    if found:
        raise BadAllowList(found)
    return rows


@needs_transaction
def store(tenant_id: int, rows: Iterable[ToolAllowance], user: User, *, replace: bool, now: datetime) -> list[str]:
    """Save imported entries over those of the same tools, and return the changes, one sentence each.

    `replace` also removes the tools that are not among `rows`. All changes are one ledger entry.
    """
    old = {row.tool: row for row in ToolAllowance.objects.select_for_update().filter(tenant_id=tenant_id)}
    new = {row.tool: row for row in rows}
    changes: dict[str, JSONValue] = {}
    for tool, row in sorted(new.items()):
        before = snapshot(old[tool]) if tool in old else {}
        if before != snapshot(row):
            row.pk = old[tool].pk if tool in old else None
            row.save()
            changes[tool] = [before or None, snapshot(row)]
    for tool in sorted(old.keys() - new.keys()) if replace else ():
        changes[tool] = [snapshot(old[tool]), None]
        old[tool].delete()
    if changes:
        _note(tenant_id, user, {"act": "imported", "tools": changes}, now)
    return [f"{tool}: {_summary(*change)}" for tool, change in changes.items()]


@needs_transaction
def note_change(
    tenant_id: int,
    user: User,
    subject: str,
    before: Mapping[str, JSONValue] | None,
    after: Mapping[str, JSONValue] | None,
    *,
    now: datetime,
) -> None:
    """Write one change of policy into the ledger. `subject` is a tool, or "policy" for the tenant's settings."""
    if before != after:
        act = "added" if before is None else "removed" if after is None else "changed"
        _note(tenant_id, user, {"act": act, "subject": subject, "before": before, "after": after}, now)


def _note(tenant_id: int, user: User, facts: Mapping[str, JSONValue], now: datetime) -> None:
    ledger.append(tenant_id=tenant_id, kind=LedgerKind.POLICY_CHANGE, actor=user.get_username(), facts=facts, now=now)


def _summary(before: Mapping[str, JSONValue] | None, after: Mapping[str, JSONValue] | None) -> str:
    if after is None:
        return "removed"
    return f"added ({after['mode']})" if before is None else "; ".join(differences(before, after))


def _row(tenant_id: int, entry: Entry) -> ToolAllowance:
    values = entry.model_dump(mode="json")
    return ToolAllowance(tenant_id=tenant_id, **(values | {"reversibility": entry.reversibility or ""}))


def _place(location: Sequence[int | str]) -> str:
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in location) or "file"
