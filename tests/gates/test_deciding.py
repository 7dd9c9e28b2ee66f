"""A ballot counts once, for exactly what its page showed, by whoever may cast it at that moment."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from approvals.ballots import Ballot
from approvals.errors import (
    AlreadyDecided,
    AlreadyVoted,
    BadBallot,
    BadGateRequest,
    Expired,
    KeyReused,
    NoSigningKey,
    OwnRun,
    ReasonTooLong,
    StaleView,
    Tampered,
)
from approvals.models import ApprovalGate, Decision, TenantPolicy
from approvals.types import ApproverRequirement
from routekit_site.tenancy.errors import NotAllowed, NotVisible
from routekit_site.tenancy.models import Membership
from routekit_site.tenancy.roles import Role
from tests.fixtures.gates import ONE, TWO, House
from traces import ledger
from traces.errors import LedgerWriteFailed
from traces.models import LedgerEntry, RedactionPolicy, TraceEvent


def test_an_approval_holds_for_the_tenants_seconds_and_then_its_time_to_run_begins(house: House) -> None:
    TenantPolicy.objects.create(tenant=house.cast.acme, approval_hold_seconds=7)
    opened = house.open()
    house.decide(opened, house.cast.rita, after=1)
    gate = opened.fresh()
    assert gate.decided_at == house.later(1)
    assert gate.hold_until == house.later(8)
    assert gate.execute_by == house.later(8 + 900)


def test_without_a_tenants_own_policy_approvals_hold_five_seconds_and_rejections_none(house: House) -> None:
    approved, rejected = house.open(), house.open()
    house.decide(approved, house.cast.rita)
    house.decide(rejected, house.cast.rita, rejected.ballot("reject"))
    gate = approved.fresh()
    assert gate.hold_until is not None
    assert gate.decided_at is not None
    assert gate.hold_until - gate.decided_at == timedelta(seconds=5)
    assert rejected.fresh().hold_until == rejected.fresh().decided_at


def test_a_decision_leaves_a_trace_event_a_ledger_entry_and_the_reason_redacted(house: House) -> None:
    opened = house.open()
    ballot = opened.ballot("reject", reason="ask bob.builder@example.com first")
    decision = house.decide(opened, house.cast.rita, ballot)
    event = TraceEvent.objects.get(trace_id=opened.gate.run_id, kind="gate.decided")
    entry = LedgerEntry.objects.get(tenant=house.cast.acme, kind="decision")
    assert (event.actor, event.gate_id, event.payload["state"]) == ("rita", opened.gate.pk, "rejected")
    assert (entry.actor, ledger.facts_of(entry)["digest"]) == ("rita", opened.gate.digest)
    for stored in (decision.reason, str(event.payload), str(entry.facts)):
        assert "first" in stored
        assert "bob.builder" not in stored
    assert ledger.verify(house.cast.acme.pk) == []


def test_the_same_form_sent_again_gets_the_first_answer_whatever_happened_since(house: House) -> None:
    opened = house.open()
    ballot = opened.ballot()
    first = house.decide(opened, house.cast.rita, ballot, after=1)
    assert house.decide(opened, house.cast.rita, ballot, after=2) == first
    house.undo(opened, house.cast.rita, after=3)
    assert house.decide(opened, house.cast.rita, ballot, after=4) == first
    assert opened.fresh().state == "pending"
    second = house.decide(opened, house.cast.rita, after=5)
    house.redeem(opened, after=60)
    assert house.decide(opened, house.cast.rita, ballot, after=9000) == first
    assert second != first
    assert opened.fresh().state == "spent"


@pytest.mark.parametrize("changes", [{"kind": "reject"}, {"reason": "because"}, {"digest": "0" * 64}])
def test_another_ballot_under_a_used_key_is_refused(house: House, changes: dict[str, str]) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita, opened.ballot(key="form-1"))
    kind = changes.pop("kind", "approve")
    with pytest.raises(KeyReused):
        house.decide(opened, house.cast.rita, opened.ballot(kind, key="form-1", **changes))


def test_a_key_used_on_another_gate_is_refused_and_other_people_may_have_the_same(house: House) -> None:
    first, second = house.open(), house.open()
    house.decide(first, house.cast.rita, first.ballot(key="form-1"))
    with pytest.raises(KeyReused):
        house.decide(second, house.cast.rita, second.ballot(key="form-1"))
    house.decide(second, house.cast.rolf, second.ballot(key="form-1"))
    assert second.fresh().state == "approved"


@pytest.mark.parametrize("field", ["digest", "view_digest"])
def test_a_stale_or_forged_digest_is_refused(house: House, field: str) -> None:
    opened, other = house.open(), house.open()
    before = opened.row()
    for forged in ("f" * 64, getattr(other.gate, field), ""):
        with pytest.raises(StaleView):
            house.decide(opened, house.cast.rita, opened.ballot(**{field: forged}))
    assert opened.row() == before


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"kind": "maybe"}, BadBallot),
        ({"idempotency_key": ""}, BadBallot),
        ({"idempotency_key": "k" * 65}, BadBallot),
        ({"reason": "\ud800"}, BadBallot),
        ({"reason": "x" * 4001}, ReasonTooLong),
        ({"reason": "x" * 100_000}, ReasonTooLong),
    ],
)
def test_what_no_page_sends_is_refused(house: House, changes: dict[str, str], error: type[Exception]) -> None:
    opened = house.open()
    sent = {"kind": "approve", "digest": opened.gate.digest, "view_digest": opened.gate.view_digest}
    ballot = Ballot(**{**sent, "idempotency_key": "key", **changes})  # type: ignore[arg-type]
    with pytest.raises(error):
        house.decide(opened, house.cast.rita, ballot)
    assert opened.fresh().state == "pending"


def test_a_reason_of_exactly_4000_characters_is_taken(house: House) -> None:
    opened = house.open()
    decision = house.decide(opened, house.cast.rita, opened.ballot("reject", reason="no " * 1333 + "!"))
    assert len(decision.reason) == 4000


def test_a_late_vote_reads_who_was_faster_and_how(house: House) -> None:
    opened = house.open()
    house.decide(opened, house.cast.rita, after=1)
    with pytest.raises(AlreadyDecided, match="already approved 3 s ago by Rita Example") as late:
        house.decide(opened, house.cast.rolf, after=4)
    assert (late.value.winner, late.value.state, late.value.at) == ("Rita Example", "approved", house.later(1))


def test_a_vote_on_a_withdrawn_call_says_so_and_names_nobody(house: House) -> None:
    opened = house.open()
    house.withdraw(opened, after=1)
    with pytest.raises(AlreadyDecided, match=r"already withdrawn 2 minutes ago\.") as late:
        house.decide(opened, house.cast.rita, after=122)
    assert late.value.winner == ""


def test_from_decide_by_on_a_vote_is_too_late_even_before_the_sweep(house: House) -> None:
    opened = house.open()
    with pytest.raises(Expired):
        house.decide(opened, house.cast.rita, after=3600)
    house.decide(opened, house.cast.rita, after=3599)
    assert opened.fresh().state == "approved"


def test_a_role_taken_away_a_second_ago_is_gone(house: House) -> None:
    opened = house.open()
    Membership.objects.filter(user=house.cast.rita).update(role=Role.DEVELOPER)
    with pytest.raises(NotAllowed):
        house.decide(opened, house.cast.rita)
    Membership.objects.filter(user=house.cast.rita).delete()
    with pytest.raises(NotVisible):
        house.decide(opened, house.cast.rita)
    house.cast.rolf.is_active = False
    with pytest.raises(NotVisible):
        house.decide(opened, house.cast.rolf)
    assert opened.fresh().state == "pending"


def test_nobody_decides_a_run_of_their_own_not_even_an_admin(house: House) -> None:
    opened = house.open(requester=house.cast.adam)
    for kind in ("approve", "reject"):
        with pytest.raises(OwnRun, match="somebody else"):
            house.decide(opened, house.cast.adam, opened.ballot(kind))
    house.decide(opened, house.cast.rita)
    with pytest.raises(OwnRun):
        house.undo(opened, house.cast.adam)


def test_a_tenant_may_do_without_four_eyes(house: House) -> None:
    opened = house.open(requester=house.cast.adam, approvers=ApproverRequirement(four_eyes=False))
    house.decide(opened, house.cast.adam)
    assert opened.fresh().state == "approved"
    assert house.redeem(opened).gate_id == opened.gate.pk


def test_a_gate_for_admins_is_not_for_reviewers(house: House) -> None:
    opened = house.open(approvers=ApproverRequirement(roles=("admin",)))
    with pytest.raises(NotAllowed, match="decided by: admin"):
        house.decide(opened, house.cast.rita)
    house.decide(opened, house.cast.adam)
    assert opened.fresh().state == "approved"


def test_two_reviewers_are_two_people(house: House) -> None:
    opened = house.open(approvers=TWO)
    house.decide(opened, house.cast.rita, after=1)
    assert opened.fresh().state == "pending"
    with pytest.raises(AlreadyVoted):
        house.decide(opened, house.cast.rita, after=2)
    house.decide(opened, house.cast.rolf, after=3)
    gate = opened.fresh()
    assert (gate.state, gate.decided_at) == ("approved", house.later(3))
    assert house.redeem(opened).gate_id == gate.pk


def test_one_rejection_rejects_a_call_that_one_other_approved(house: House) -> None:
    opened = house.open(approvers=TWO)
    house.decide(opened, house.cast.rita, after=1)
    house.decide(opened, house.cast.rolf, opened.ballot("reject"), after=2)
    assert opened.fresh().state == "rejected"


def test_a_process_without_the_signing_key_decides_nothing(house: House, settings: object) -> None:
    opened = house.open()
    before = opened.row()
    settings.ROUTEKIT_SIGNING_KEY = None  # type: ignore[attr-defined]
    with pytest.raises(NoSigningKey):
        house.decide(opened, house.cast.rita)
    assert opened.row() == before
    assert not Decision.objects.exists()


@pytest.mark.parametrize(
    "tampering",
    [{"presentation": {"version": 1}}, {"approvals_needed": 2}, {"four_eyes": False}, {"tool": "delete_file"}],
)
def test_nobody_can_decide_what_was_changed_in_the_database(house: House, tampering: dict[str, object]) -> None:
    opened = house.open()
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(**tampering)
    with pytest.raises(Tampered):
        house.decide(opened, house.cast.rita)


def test_a_view_of_other_arguments_is_refused_although_all_its_digests_hold(house: House) -> None:
    """What a floor above could do by mistake or malice: show one call and bind another."""
    honest, other = house.open({"path": "a.txt", "text": "1"}), house.open({"path": "b.txt", "text": "1"})
    columns = {"presentation": honest.gate.presentation, "view_digest": honest.gate.view_digest}
    ApprovalGate.objects.filter(pk=other.gate.pk).update(**columns)
    with pytest.raises(Tampered):
        house.decide(other, house.cast.rita, other.ballot(view_digest=honest.gate.view_digest))


def test_a_call_stays_decidable_when_the_tenants_redaction_has_changed(house: House) -> None:
    opened = house.open({"path": "10.1.2.3.txt", "text": "1"})
    RedactionPolicy.objects.create(tenant=house.cast.acme, hook={"redact_ips": True}, version=2)
    house.decide(opened, house.cast.rita)
    assert opened.fresh().state == "approved"


def test_a_ledger_that_fails_undoes_the_decision(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = house.open()
    before = opened.row()

    def fail(**_: object) -> str:
        raise LedgerWriteFailed

    monkeypatch.setattr(ledger, "append", fail)
    with pytest.raises(LedgerWriteFailed):
        house.decide(opened, house.cast.rita)
    assert opened.row() == before


def test_a_gate_whose_parts_are_not_of_one_call_is_not_opened(house: House) -> None:
    for changes in ({"view_digest": "0" * 64}, {"tool": "delete_file"}, {"schema": "0" * 64}, {"approvers": TWO}):
        with pytest.raises(BadGateRequest):
            house.open_mismatched(**changes)
    with transaction.atomic():
        assert not ApprovalGate.objects.exists()


def test_the_default_requirement_is_one_reviewer_or_admin_who_did_not_submit() -> None:
    assert (ONE.roles, ONE.count, ONE.four_eyes) == (("reviewer", "admin"), 1, True)


def test_a_call_with_characters_that_databases_dislike_can_be_opened_and_decided(house: House) -> None:
    opened = house.open({"path": "nul\x00 and \u202e.txt", "text": "\x00\x1b[31m \U0010ffff ⟦"})
    house.decide(opened, house.cast.rita, opened.ballot(reason="fine\x00 by me"))
    assert house.redeem(opened).gate_id == opened.gate.pk
