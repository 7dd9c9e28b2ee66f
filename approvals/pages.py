"""The read side of the review queue: rows, one call in full, and how long approvals take. Changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.shortcuts import resolve_url

from approvals import claims, remarks
from approvals.approvers import in_words
from approvals.gates import can_take_back, can_undo, check_decide
from approvals.integrity import requirement
from approvals.models import ApprovalGate, ApprovalGateQuerySet, Decision, RemarkKind
from approvals.precedents import similar
from approvals.remarks import can_remark
from approvals.reveals import can_reveal, masked_of
from approvals.rules import can_remember
from approvals.states import UNDOABLE, GateState
from routekit_site.tenancy.errors import NotAllowed
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Capability, capabilities_of

PAGE = 100
MOST = 2000
# Rows in one answer to a script that fetches the rest of a long queue.
CHUNK = 200
LATELY = timedelta(days=14)
_DECIDED = {"approve": "approved", "reject": "rejected", "respond": "answered"}
PRESETS = ("Not needed for this job", "Wrong target", "Too much at once: split it", "Ask me first, then try again")
_OUTCOMES: dict[str, str] = {
    GateState.EXPIRED: "Nobody decided in time, so the call was refused.",
    GateState.WITHDRAWN: "The job was cancelled or ended, so nobody has to decide any more.",
    GateState.LAPSED: "The approval was not used in time, or what it was given for has changed.",
}


@dataclass(frozen=True)
class Row:
    """One line of the queue, as JSON and for the template. Texts are redacted."""

    id: str
    url: str
    state: str
    version: int
    tool: str
    agent: str
    sentence: str
    risk: str
    risk_rank: int
    requester: str
    run: str
    opened_at: datetime
    decide_by: datetime
    digest: str
    view_digest: str
    search: str
    can_decide: bool = False
    escalated: bool = False
    claimed_by: str = ""
    asleep_until: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-ready: times as ISO 8601 (by Django's encoder)."""
        return asdict(self)


@dataclass(frozen=True)
class Filters:
    """What the queue is narrowed to: words that must all occur in a row's text, and a risk."""

    q: str = ""
    risk: str = ""

    def narrow(self) -> bool:
        """Whether anything is filtered at all."""
        return bool(self.q.strip() or self.risk)

    def passes(self, row: Row) -> bool:
        """Whether the row stays."""
        wanted = not self.risk or row.risk == self.risk
        return wanted and all(word in row.search for word in self.q.lower().split())


def plain(block: dict[str, Any]) -> str:
    """A presentation block as one line of text, masked values as their tokens."""
    pieces = (
        f"[redacted: {segment['label']}]" if segment["kind"] == "chip" else segment["text"]
        for segment in block["segments"]
    )
    return " ".join("".join(pieces).split())


def sentence_of(gate: ApprovalGate) -> str:
    """The one plain sentence that says what the call does."""
    return plain(gate.presentation["sentence"])


def _may(membership: Membership, gate: ApprovalGate) -> bool:
    """`can_decide` for a list, under one membership that was just read; each decision asks again by itself."""
    own = gate.four_eyes and gate.requester_id == membership.user_id
    able = Capability.DECIDE_GATE in capabilities_of(membership.role)
    return able and not own and membership.role in gate.deciding_roles


def rows(
    gates: ApprovalGateQuerySet,
    membership: Membership,
    now: datetime,
    asleep: Mapping[uuid.UUID, datetime] | None = None,
) -> list[Row]:
    """The rows of gates of the member's tenant, in the order given. `asleep`: which they snoozed, and until when."""
    listed = list(gates.for_rows())
    claimed = claims.holders(listed, now)
    return [_row(gate, membership, claimed.get(gate.pk), (asleep or {}).get(gate.pk)) for gate in listed]


def _row(
    gate: ApprovalGate, membership: Membership, holder: claims.Holder | None, asleep_until: datetime | None
) -> Row:
    # Annotated by `for_rows`.
    sentence = plain(gate.sentence_block)  # type: ignore[attr-defined]
    requester: str = gate.submitter_name  # type: ignore[attr-defined]
    return Row(
        id=str(gate.id),
        url=resolve_url("gate", gate.id),
        state=gate.state,
        version=gate.version,
        tool=gate.tool,
        agent=gate.agent_name,
        sentence=sentence,
        risk=gate.risk,
        risk_rank=gate.risk_rank,
        requester=requester,
        run=str(gate.run_id),
        opened_at=gate.opened_at,
        decide_by=gate.decide_by,
        digest=gate.digest,
        view_digest=gate.view_digest,
        can_decide=gate.state == GateState.PENDING and _may(membership, gate),
        escalated=gate.state == GateState.PENDING and gate.escalated_at is not None,
        claimed_by=holder.name if holder is not None else "",
        search=f"{gate.tool} {gate.agent_name} {requester} {sentence} {gate.risk}".lower(),
        asleep_until=asleep_until,
    )


def blank_row(now: datetime) -> Row:
    """A row of nothing: the pattern that the page's script fills for calls that arrive."""
    names = ("id", "url", "state", "tool", "agent", "sentence", "requester", "run", "digest", "view_digest", "search")
    texts: dict[str, Any] = dict.fromkeys(names, "")
    return Row(**texts, risk="low", risk_rank=0, version=0, opened_at=now, decide_by=now)


def waiting(tenant_id: int) -> ApprovalGateQuerySet:
    """The gates that wait in a tenant, most pressing first."""
    return ApprovalGate.objects.in_tenant(tenant_id).pending().most_pressing_first()


def in_tenant(tenant_id: int, ids: Sequence[uuid.UUID]) -> ApprovalGateQuerySet:
    """Those of the gates named that belong to the tenant, whatever their state."""
    return ApprovalGate.objects.in_tenant(tenant_id).filter(pk__in=ids)


@dataclass(frozen=True)
class LastDecision:
    """The tenant's latest decision, for an empty queue."""

    state: str
    sentence: str
    by: str
    at: datetime


def last_decision(tenant_id: int) -> LastDecision | None:
    """The latest decision in a tenant that was not taken back."""
    decisions = Decision.objects.standing().filter(gate__tenant_id=tenant_id)
    found = decisions.select_related("gate", "decided_by").order_by("-decided_at").first()
    if found is None:
        return None
    return LastDecision(
        _DECIDED[found.kind], sentence_of(found.gate), f"by {found.decided_by.display_name}", found.decided_at
    )


def decided_word(kind: str) -> str:
    """What was done by a decision of this kind: "approved"."""
    return _DECIDED[kind]


def why_not(user: User, gate: ApprovalGate) -> str:
    """Why this person may not decide the gate, in words for them; empty when they may."""
    try:
        check_decide(user, gate)
    except NotAllowed as error:
        return str(error)
    mine = Decision.objects.filter(gate_id=gate.id, decided_by_id=user.pk).standing().exists()
    return "You have approved this call. It waits for the approval of somebody else." if mine else ""


def approvers(gate: ApprovalGate) -> str:
    """Who may decide a gate: "a reviewer or an admin", "2 people: reviewers or admins", without the submitter."""
    roles = [str(role) for role in gate.approver_roles]
    if not roles:
        return "nobody: its allow-list entry names no role"
    if gate.approver_expression:
        text = in_words(requirement(gate))
    elif gate.approvals_needed > 1:
        text = f"{gate.approvals_needed} people: " + " or ".join(f"{role}s" for role in roles)
    else:
        text = " or ".join(f"{'an' if role[0] in 'aeiou' else 'a'} {role}" for role in roles)
    text = f"{text}{_second_group(gate)}"
    return f"{text}, other than {gate.presentation['submitter']['name']}" if gate.four_eyes else text


def _second_group(gate: ApprovalGate) -> str:
    if not gate.escalation_roles or gate.escalate_at is None:
        return ""
    group = " or ".join(f"{'an' if role[0] in 'aeiou' else 'a'} {role}" for role in gate.escalation_roles)
    if gate.escalated_at is not None:
        return f"; {group} was called and may stand in"
    return f"; {group} is called after half of the time"


def successor(gate: ApprovalGate) -> ApprovalGate | None:
    """The gate that asks about the same call again, because it was edited or has changed."""
    return ApprovalGate.objects.filter(reopens_id=gate.pk).select_related("edited_by").order_by("-opened_at").first()


def outcome(gate: ApprovalGate) -> str:
    """How a gate that waits no more ended, in words."""
    again = successor(gate) if gate.state == GateState.WITHDRAWN else None
    if again is not None and again.edited_by is not None:
        return f"{again.edited_by.display_name} edited the arguments, so another call is asked about."
    if again is not None:
        return "What is masked has changed since, so the call is asked about anew."
    if gate.withdrawn_by is not None:
        return f"{gate.withdrawn_by.display_name} took the request back, so nobody has to decide any more."
    if gate.state in _OUTCOMES:
        return _OUTCOMES[gate.state]
    decisions = Decision.objects.filter(gate_id=gate.id).standing().select_related("decided_by").in_order()
    people = [f"by {each.decided_by.display_name}" + (f": {each.reason}" if each.reason else "") for each in decisions]
    return " and ".join(people)


def gate_page(gate: ApprovalGate, user: User, now: datetime) -> dict[str, Any]:
    """What the template of one call needs. `gate.presentation` is shown as it was stored: a decision is bound to it."""
    held = gate.hold_until is not None and gate.hold_until > now
    return {
        "gate": gate,
        "view": gate.presentation,
        "run_url": f"/runs/{gate.run_id}/",
        "approvers": approvers(gate),
        "why_not": why_not(user, gate) if gate.state == GateState.PENDING else "",
        "outcome": outcome(gate) if gate.state != GateState.PENDING else "",
        "successor": successor(gate) if gate.state in {GateState.WITHDRAWN, GateState.LAPSED} else None,
        "can_undo": gate.state in UNDOABLE and held and can_undo(user, gate),
        "can_remember": gate.state in {GateState.APPROVED, GateState.SPENT} and can_remember(user, gate),
        "precedents": similar(gate, limit=5),
        "presets": PRESETS,
        "idempotency_key": uuid.uuid4().hex,
        "place": "queue",
        **_around(gate, user, now),
    }


def _around(gate: ApprovalGate, user: User, now: datetime) -> dict[str, Any]:
    """What changes beside a call while it waits: who has claimed it, what was said, which masked values are known."""
    waits = gate.state == GateState.PENDING
    holder, said = claims.holder(gate, now), remarks.of_gate(gate)
    return {
        "holder": holder,
        "holds": holder is not None and holder.person_id == user.pk,
        "masked": masked_of(gate) if waits else [],
        "can_reveal": waits and can_reveal(user, gate),
        "said": said,
        "open_question": any(each.open for each in said),
        "can_ask": waits and can_remark(user, gate, RemarkKind.QUESTION),
        "can_answer": waits and can_remark(user, gate, RemarkKind.ANSWER),
        "can_take_back": waits and can_take_back(user, gate),
        "remark_key": uuid.uuid4().hex,
    }


def way_back(gate: ApprovalGate, wanted: str) -> str:
    """Where a form about a gate leads back to: the run's page for those who came from there, else the gate's own."""
    return f"/runs/{gate.run_id}/" if wanted == "run" else resolve_url("gate", gate.pk)


def open_of_run(run_id: uuid.UUID) -> list[ApprovalGate]:
    """The gates of a run that wait for a person, oldest first."""
    return list(ApprovalGate.objects.of_run(run_id).pending().order_by("opened_at", "id"))


def seconds_to_decision(tenant_id: int, now: datetime) -> float | None:
    """The median time from asking to deciding over the last two weeks, in seconds; None where nothing was decided."""
    decided = ApprovalGate.objects.in_tenant(tenant_id).filter(decided_at__gte=now - LATELY)
    times = decided.order_by("-decided_at").values_list("opened_at", "decided_at")[:500]
    waits = [(at - opened).total_seconds() for opened, at in times if at is not None]
    return median(waits) if waits else None
