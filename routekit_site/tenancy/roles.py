"""Roles and what each one may do. Pure: knows no framework."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """One thing that a person may do inside one tenant."""

    SUBMIT_RUN = "submit_run"
    VIEW_OWN_RUNS = "view_own_runs"
    VIEW_ALL_RUNS = "view_all_runs"
    CANCEL_ANY_RUN = "cancel_any_run"
    VIEW_QUEUE = "view_queue"
    DECIDE_GATE = "decide_gate"
    REVEAL_VALUE = "reveal_value"
    MAKE_RULE = "make_rule"
    VIEW_TRACES = "view_traces"
    VIEW_LEDGER = "view_ledger"
    EXPORT_TRACES = "export_traces"
    MANAGE_AGENTS = "manage_agents"
    MANAGE_POLICY = "manage_policy"
    MANAGE_MEMBERS = "manage_members"
    HALT_AGENTS = "halt_agents"


class Role(StrEnum):
    """What a membership makes of a person in its tenant."""

    DEVELOPER = "developer"
    REVIEWER = "reviewer"
    ADMIN = "admin"
    AUDITOR = "auditor"


# An admin can do whatever a developer and a reviewer can: withholding it would be theatre, since an admin can
# set a tool to "allow". Four-eyes (nobody decides a run of their own) binds an admin like everybody else.
CAPABILITIES: dict[Role, frozenset[Capability]] = {
    Role.DEVELOPER: frozenset({Capability.SUBMIT_RUN, Capability.VIEW_OWN_RUNS}),
    Role.REVIEWER: frozenset(
        {
            Capability.VIEW_OWN_RUNS,
            Capability.VIEW_ALL_RUNS,
            Capability.VIEW_QUEUE,
            Capability.DECIDE_GATE,
            Capability.REVEAL_VALUE,
            Capability.MAKE_RULE,
        }
    ),
    Role.ADMIN: frozenset(Capability),
    Role.AUDITOR: frozenset(
        {
            Capability.VIEW_OWN_RUNS,
            Capability.VIEW_ALL_RUNS,
            Capability.VIEW_TRACES,
            Capability.VIEW_LEDGER,
        }
    ),
}


def capabilities_of(role: str) -> frozenset[Capability]:
    """The capabilities of a role; an unknown role has none."""
    try:
        return CAPABILITIES[Role(role)]
    except ValueError:
        return frozenset()
