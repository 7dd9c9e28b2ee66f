"""A model's reply as a chain of calls, gated at the highest impact in it (OWASP AISVS 9.2.10). Pure.

Note [Chains]: each call of a reply may be harmless and all of them together not: write a file, then send it. So where
one of them asks a person, every other one that does more than read asks too, even one that policy, a callback or a
remembered rule would let run by itself; at the highest risk, and by the strictest approvers, of those that ask. Each
call keeps a gate of its own, for exactly that call. What was asked for in a chain is part of the shown view, so that a
gate which is opened again (an edit, a changed file, other redaction) asks for no less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from approvals.manifests import ToolManifest, risk_of
from approvals.types import (
    Allow,
    AllowanceFacts,
    AllowanceMode,
    ApproverRequirement,
    Chain,
    Deny,
    Level,
    NeedsApproval,
    Risk,
    Verdict,
)

SAME_REPLY = "same reply"
_MOST_NAMES = 3


@dataclass(frozen=True)
class Link:
    """One call of a reply: what policy says of it by itself, its risk, and the tenant's word on its tool, if any."""

    tool: str
    risk: Risk
    only_reads: bool
    verdict: Verdict
    allowance: AllowanceFacts | None = None


def together(links: Sequence[Link]) -> list[Verdict]:
    """The verdicts on calls that were proposed in one reply, in order (see Note [Chains])."""
    return [_joined(link, [*links[:place], *links[place + 1 :]]) for place, link in enumerate(links)]


def again(
    alone: Allow | NeedsApproval, shown: Mapping[str, Any], allowance: AllowanceFacts, reason: str
) -> NeedsApproval:
    """What is asked of a call that a person was asked about before: no less than its chain asked for.

    Args:
        alone: what policy says of the call by itself, now.
        shown: the view of the gate that asks no more (`ApprovalGate.presentation`).
        allowance: the tenant's word on its tool, now.
        reason: why a person is asked although policy would let the call run.
    """
    stored = shown.get("why", {}).get("chain")
    chain = None if stored is None else _from_shown(stored)
    if isinstance(alone, NeedsApproval):
        return alone if chain is None else _stricter(alone, chain)
    before = ApproverRequirement.from_shown(shown["approvers"])
    return NeedsApproval(
        alone.level,
        alone.rule if chain is None else _rule(chain),
        reason,
        approvers=strictest([before, allowance.approvers]),
        decide_by_seconds=allowance.decide_by_seconds,
        execute_by_seconds=allowance.execute_by_seconds,
        chain=chain,
    )


def risk_in_chain(manifest: ToolManifest, verdict: NeedsApproval) -> Risk:
    """The risk at which a call is decided: its own, or that of its chain where it is higher."""
    own = risk_of(manifest.permissions, manifest.reversibility)
    return own if verdict.chain is None else max(own, verdict.chain.risk, key=lambda risk: risk.rank)


def strictest(requirements: Sequence[ApproverRequirement]) -> ApproverRequirement:
    """The requirement that asks for most: more people, then fewer roles, then no second group; the first of equals.

    Nobody decides their own run where any of them says so.
    """
    found = max(requirements, key=lambda each: (each.count, -len(each.roles), not each.escalation_roles))
    return replace(found, four_eyes=any(each.four_eyes for each in requirements))


def as_shown(chain: Chain) -> dict[str, Any]:
    """A chain as it stands in the view."""
    return {"tools": list(chain.tools), "risk": chain.risk.value, "approvers": chain.approvers.as_shown()}


def _from_shown(stored: Mapping[str, Any]) -> Chain:
    return Chain(tuple(stored["tools"]), Risk(stored["risk"]), ApproverRequirement.from_shown(stored["approvers"]))


def _joined(link: Link, others: Sequence[Link]) -> Verdict:
    asking = [(other, other.verdict) for other in others if isinstance(other.verdict, NeedsApproval)]
    if not asking or link.only_reads or isinstance(link.verdict, Deny):
        return link.verdict
    chain = Chain(
        tools=tuple(dict.fromkeys(other.tool for other, _ in asking)),
        risk=max([link.risk, *(other.risk for other, _ in asking)], key=lambda risk: risk.rank),
        approvers=strictest([verdict.approvers for _, verdict in asking]),
    )
    if isinstance(link.verdict, NeedsApproval):
        stricter = _stricter(link.verdict, chain)
        return stricter if stricter.approvers != link.verdict.approvers or chain.risk is not link.risk else link.verdict
    return _asked_beside(link, chain)


def _asked_beside(link: Link, chain: Chain) -> NeedsApproval:
    clocks = link.allowance or AllowanceFacts(link.tool, AllowanceMode.ASK)
    names = _in_words(chain.tools)
    asks = "asks" if len(chain.tools) == 1 else "ask"
    return NeedsApproval(
        Level.GATE,
        _rule(chain),
        f"`{link.tool}` needs approval because {names} in the same reply {asks}; alone it would be allowed",
        approvers=chain.approvers,
        decide_by_seconds=clocks.decide_by_seconds,
        execute_by_seconds=clocks.execute_by_seconds,
        chain=chain,
    )


def _rule(chain: Chain) -> str:
    return f"{SAME_REPLY}: {', '.join(chain.tools)}"


def _stricter(verdict: NeedsApproval, chain: Chain) -> NeedsApproval:
    """A call that asks by itself keeps its own approvers, unless whoever is enough for the chain is enough for it."""
    approvers = chain.approvers if _is_enough(chain.approvers, verdict.approvers) else verdict.approvers
    return replace(verdict, approvers=approvers, chain=chain)


def _is_enough(asked: ApproverRequirement, own: ApproverRequirement) -> bool:
    plain = not (asked.expression or own.expression or asked.escalation_roles)
    people = asked.count >= own.count and set(asked.roles) <= set(own.roles)
    return plain and people and (asked.four_eyes or not own.four_eyes)


def _in_words(tools: Sequence[str]) -> str:
    names = [f"`{tool}`" for tool in tools[:_MOST_NAMES]]
    if len(tools) > _MOST_NAMES:
        names.append(f"{len(tools) - _MOST_NAMES} more")
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
