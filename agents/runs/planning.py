"""A call whose turn has come: what it is bound to now, and what it has to ask as one of its reply. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents import execution
from agents.models import ToolCall
from agents.runs.case import Case
from approvals import chains
from approvals.binding import digest_of
from approvals.effects import Reversibility
from approvals.manifests import ToolManifest
from approvals.models import ApprovalGate
from approvals.redemption import effects_drift
from approvals.types import (
    Allow,
    ApproverRequirement,
    Binding,
    Level,
    NeedsApproval,
    Risk,
    Verdict,
)

# The outcome of a call that is to be tried again and of which it is certain that nothing ran.
NOT_STARTED = "not_started"


@dataclass(frozen=True)
class Planned:
    """A call whose turn has come, with everything that is looked at outside of the transaction."""

    call: ToolCall
    manifest: ToolManifest
    arguments: dict[str, Any]
    binding: Binding
    verdict: Verdict

    @property
    def repeatable(self) -> bool:
        """Whether running this call twice has the effect of running it once."""
        return self.manifest.idempotent_for(self.arguments)

    @property
    def repeats_approved(self) -> bool:
        """Whether a person approved exactly this call and a second try of it is harmless."""
        gate, call = self.call.gate, self.call
        if gate is None or call.attempts == 0 or call.outcome == NOT_STARTED:
            return False
        return self.repeatable and digest_of(self.binding) == gate.digest and not effects_drift(gate, self.binding)


def together(case: Case, planned: Sequence[Planned], waiting: Sequence[ApprovalGate]) -> list[Planned]:
    """The calls, each with the verdict that it gets as one of its reply; `waiting` are gates of others of it."""
    links = [case.link(each.manifest, each.arguments, each.verdict) for each in planned]
    verdicts = chains.together([*links, *map(_waiting_link, waiting)])
    return [replace(each, verdict=verdict) for each, verdict in zip(planned, verdicts, strict=False)]


def batch(planned: Sequence[Planned]) -> list[Planned]:
    """The first call, and with it those right behind that only read if it only reads too."""
    found = list(planned[:1])
    for other in planned[1 : execution.MOST_AT_ONCE]:
        if not (_only_reads(found[-1]) and _only_reads(other)):
            break
        found.append(other)
    return found


def asking(case: Case, verdict: Allow | NeedsApproval, call: ToolCall) -> NeedsApproval:
    """What a person is asked about a call (again): by the approvers of the gate before at the least."""
    if call.gate is not None:
        found = case.asked_again(call.tool, verdict, call.gate, "What was approved before has changed.")
        return found if isinstance(verdict, NeedsApproval) else replace(found, rule=call.rule or found.rule)
    if isinstance(verdict, NeedsApproval):
        return verdict
    raise TypeError("Policy asks nobody about this call, and nobody was asked before.")


def _waiting_link(gate: ApprovalGate) -> chains.Link:
    approvers = ApproverRequirement.from_shown(gate.presentation["approvers"])
    asked = NeedsApproval(Level(gate.level), gate.rule, gate.reason, approvers=approvers)
    return chains.Link(gate.tool, Risk(gate.risk), only_reads=False, verdict=asked)


def _only_reads(planned: Planned) -> bool:
    return planned.manifest.reversibility is Reversibility.READ_ONLY
