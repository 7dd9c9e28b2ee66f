"""An approval becomes one permit, and only for exactly what was approved. Any difference asks a person again."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from approvals.errors import NotApproved, StillHeld, UnknownGate
from approvals.gates import Drifted
from approvals.models import ApprovalGate, Decision
from approvals.redemption import PERMIT_SECONDS
from approvals.signing import decision_facts, sign_decision
from approvals.types import Allow, ApproverRequirement, Deny, Level, Permit
from routekit_site.demo_keys import make_keys
from routekit_site.tenancy.encryption import seal
from tests.fixtures.gates import TWO, House, Opened, verdict
from traces.models import TraceEvent


def approved(house: House, **kwargs: Any) -> Opened:
    opened = house.open(**kwargs)
    house.decide(opened, house.cast.rita)
    return opened


def drifted(answer: object, opened: Opened) -> list[str]:
    """The facts that differ; the gate must have lapsed."""
    assert isinstance(answer, Drifted)
    assert opened.fresh().state == "lapsed"
    return [item["fact"] for item in answer.change["differences"]]


def test_an_approved_call_gets_one_permit(house: House) -> None:
    opened = approved(house)
    permit = house.redeem(opened, after=30)
    assert isinstance(permit, Permit)
    assert (permit.gate_id, permit.call_id, permit.digest, permit.nonce) == (
        opened.gate.pk,
        opened.binding.call_id,
        opened.gate.digest,
        opened.gate.nonce,
    )
    assert permit.expires_at == house.later(30) + timedelta(seconds=PERMIT_SECONDS)
    assert opened.fresh().state == "spent"
    with pytest.raises(NotApproved):
        house.redeem(opened, after=31)


def test_the_hold_is_waited_out_and_execute_by_is_kept(house: House) -> None:
    opened, late = approved(house), approved(house)
    with pytest.raises(StillHeld):
        house.redeem(opened, after=5.9)
    assert isinstance(house.redeem(opened, after=6), Permit)
    assert drifted(house.redeem(late, after=6 + 900), late) == ["execute_by"]


@pytest.mark.parametrize("after", [1, 100])
def test_what_nobody_approved_is_not_redeemed(house: House, after: float) -> None:
    opened = house.open()
    with pytest.raises(NotApproved):
        house.redeem(opened, after=after)
    house.decide(opened, house.cast.rita, opened.ballot("reject"), after=after)
    with pytest.raises(NotApproved):
        house.redeem(opened, after=after + 100)
    with pytest.raises(UnknownGate):
        house.redeem(replace(opened, gate=ApprovalGate(id=uuid.uuid4())))


BOUND: list[tuple[str, Any, str]] = [
    ("tenant_id", 999, "call"),
    ("run_id", uuid.UUID(int=1), "call"),
    ("call_id", "another", "call"),
    ("tool", "delete_file", "call"),
    ("tool_schema_digest", "0" * 64, "tool_schema"),
    ("arguments", {"path": "a.txt", "text": "three\n"}, "arguments"),
    ("arguments", {"path": "a.txt", "text": "one\ntwo\n", "overwrite": True}, "arguments"),
    ("arguments", {"path": "a.txt"}, "arguments"),
    ("requester_id", 999, "requester"),
    ("agent_id", "8", "agent"),
    ("agent_version", 2, "agent"),
    ("policy_digest", "0" * 64, "policy"),
    ("sandbox_digest", "0" * 64, "sandbox"),
    ("context_digest", "0" * 64, "context"),
    ("permissions", ("filesystem", "network"), "permissions"),
    ("permissions", (), "permissions"),
    ("reversibility", "irreversible", "reversibility"),
]


@pytest.mark.parametrize(("fact", "value", "named"), BOUND)
def test_each_bound_fact_that_differs_refuses_the_call_and_is_shown_when_it_is_asked_again(
    house: House, fact: str, value: Any, named: str
) -> None:
    opened = approved(house, arguments={"path": "a.txt", "text": "one\ntwo\n"})
    answer = house.redeem(opened, **{fact: value})
    assert drifted(answer, opened) == [named]
    again = house.open(run_id=opened.gate.run_id, reopens=opened.gate.pk, change=answer.change).fresh()
    assert (again.state, again.reopens_id, again.change) == ("pending", opened.gate.pk, answer.change)
    assert again.presentation["change"] == answer.change
    assert again.view_digest != opened.gate.view_digest


def test_every_field_of_a_binding_is_bound() -> None:
    assert {fact for fact, _, _ in BOUND} == set(House.binding_fields())


def test_a_changed_argument_is_shown_before_and_after_and_redacted(house: House) -> None:
    opened = approved(house, arguments={"path": "a.txt", "text": "to alice.liddell@example.com"})
    answer = house.redeem(opened, arguments={"path": "a.txt", "text": "to mad.hatter@example.com"})
    (item,) = answer.change["differences"]
    assert item["pointer"] == "/text"
    for side in ("before", "after"):
        text, chip = item[side]["segments"]
        assert (text["text"], chip["kind"], chip["label"]) == ("to ", "chip", "email")
    assert item["before"]["segments"][1]["mark"] != item["after"]["segments"][1]["mark"]
    stored = json.dumps(answer.change) + str(list(TraceEvent.objects.values_list("payload", flat=True)))
    assert "liddell" not in stored
    assert "hatter" not in stored


def test_a_secret_under_its_key_is_masked_in_a_change_too(house: House) -> None:
    opened = approved(house, arguments={"path": "a", "text": "t", "headers": {"password": "tea at four"}})
    changed = {"path": "a", "text": "t", "headers": {"password": "tea at five"}}
    answer = house.redeem(opened, arguments=changed)
    (item,) = answer.change["differences"]
    assert "/headers/password" in item["pointer"]
    assert "tea at" not in json.dumps(answer.change)


def test_policy_that_denies_today_refuses_and_needs_no_new_gate(house: House) -> None:
    opened = approved(house)
    denial = Deny(Level.TENANT, "allow-list", "write_file is not allowed any more")
    answer = house.redeem(opened, verdict=denial)
    assert drifted(answer, opened) == ["verdict"]
    assert answer.denial == denial


def test_policy_that_allows_today_or_asks_for_no_more_lets_the_call_run(house: House) -> None:
    allowed, asked = approved(house), approved(house)
    assert isinstance(house.redeem(allowed, verdict=Allow(Level.TENANT, "allow-list", "")), Permit)
    assert isinstance(house.redeem(asked, verdict=verdict(ApproverRequirement(roles=("admin",)))), Permit)


def test_policy_that_asks_for_more_people_today_asks_again(house: House) -> None:
    opened = approved(house)
    assert drifted(house.redeem(opened, verdict=verdict(TWO)), opened) == ["approvers"]


def test_arguments_that_are_equal_as_canonical_json_are_the_same_call(house: House) -> None:
    opened = approved(house, arguments={"path": "a.txt", "text": "t", "mode": 1.0})
    assert isinstance(house.redeem(opened, arguments={"mode": 1, "text": "t", "path": "a.txt"}), Permit)


TAMPERING: dict[str, dict[str, Any]] = {
    "sealed arguments of another call": {"arguments_sealed": "other"},
    "sealed arguments that no key opens": {"arguments_sealed": b"nonsense"},
    "the digest": {"digest": "0" * 64},
    "the view": {"presentation": {"version": 1}},
    "the view's digest": {"view_digest": "0" * 64},
    "the nonce": {"nonce": "0" * 64},
    "the redactor's version": {"redactor_version": 1},
    "the tool": {"tool": "delete_file"},
    "the policy": {"policy_digest": "0" * 64},
    "fewer approvals": {"approvals_needed": 2},
    "other roles": {"approver_roles": ["developer"]},
    "no four eyes": {"four_eyes": False},
}


@pytest.mark.parametrize("what", TAMPERING)
def test_a_gate_that_was_changed_in_the_database_gives_no_permit(house: House, what: str) -> None:
    opened = approved(house, arguments={"path": "a.txt", "text": "one\n"})
    columns = dict(TAMPERING[what])
    if columns.get("arguments_sealed") == "other":
        columns["arguments_sealed"] = seal({"path": "b.txt", "text": "one\n"})
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(**columns)
    assert set(drifted(house.redeem(opened), opened)) == {"integrity"}
    assert TraceEvent.objects.filter(trace_id=opened.gate.run_id, kind="violation").count() == 1


def test_arguments_changed_together_with_every_digest_still_lack_a_signature(house: House) -> None:
    opened = approved(house, arguments={"path": "a.txt", "text": "one\n"})
    evil = replace(opened.binding, arguments={"path": "b.txt", "text": "one\n"})
    columns = house.columns_for(evil)
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(**columns)
    Decision.objects.update(digest=columns["digest"], view_digest=columns["view_digest"])
    assert set(drifted(house.redeem(opened, evil), opened)) == {"integrity"}


def test_a_valid_decision_does_not_carry_over_to_another_call_in_the_same_gate(house: House) -> None:
    opened = approved(house, arguments={"path": "a.txt", "text": "one\n"})
    evil = replace(opened.binding, arguments={"path": "b.txt", "text": "one\n"})
    columns = {**house.columns_for(evil), "presentation": opened.gate.presentation}
    ApprovalGate.objects.filter(pk=opened.gate.pk).update(**{**columns, "view_digest": opened.gate.view_digest})
    answer = house.redeem(opened, evil)
    assert drifted(answer, opened) == ["integrity"]
    assert "another call" in answer.change["differences"][0]["text"]


@pytest.mark.parametrize(("columns", "said"), [({"decided_by": "alice"}, "submitter"), ({"role": "auditor"}, "role")])
def test_a_signed_decision_that_should_never_have_been_made_gives_no_permit(
    house: House, columns: dict[str, str], said: str
) -> None:
    opened = approved(house)
    decision = Decision.objects.get()
    for name, value in columns.items():
        setattr(decision, name, house.cast.alice if value == "alice" else value)
    decision.signature = sign_decision(decision_facts(opened.fresh(), decision))
    decision.save()
    answer = house.redeem(opened)
    assert {*drifted(answer, opened)} == {"integrity"}
    assert said in answer.change["differences"][0]["text"]


FORGERIES: dict[str, dict[str, Any]] = {
    "kind": {"kind": "reject"},
    "digest": {"digest": "0" * 64},
    "view": {"view_digest": "0" * 64},
    "redactor": {"redactor_version": 7},
    "nonce": {"nonce": "0" * 64},
    "reason": {"reason": "never said"},
    "role": {"role": "admin"},
    "time": {"decided_at": "2026-03-02T00:00:00Z"},
    "signature": {"signature": "ed25519:00:AAAA"},
    "no signature": {"signature": ""},
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_decision_gives_no_permit(house: House, what: str) -> None:
    opened = approved(house)
    Decision.objects.update(**FORGERIES[what])
    assert set(drifted(house.redeem(opened), opened)) == {"integrity"}


def test_somebody_elses_signature_gives_no_permit(house: House) -> None:
    first, second = approved(house), approved(house)
    signatures = {d.gate_id: d.signature for d in Decision.objects.all()}
    Decision.objects.filter(gate_id=first.gate.pk).update(signature=signatures[second.gate.pk])
    assert drifted(house.redeem(first), first) == ["integrity"]


def test_a_signature_by_a_key_that_is_not_ours_gives_no_permit(house: House, settings: Any) -> None:
    opened = approved(house)
    decision = Decision.objects.get()
    ours, theirs = (settings.ROUTEKIT_SIGNING_KEY, settings.ROUTEKIT_VERIFY_KEYS), make_keys()
    settings.ROUTEKIT_SIGNING_KEY = theirs["ROUTEKIT_SIGNING_KEY"]
    settings.ROUTEKIT_VERIFY_KEYS = (theirs["ROUTEKIT_VERIFY_KEYS"],)
    Decision.objects.update(signature=sign_decision(decision_facts(opened.fresh(), decision)))
    settings.ROUTEKIT_SIGNING_KEY, settings.ROUTEKIT_VERIFY_KEYS = ours
    assert drifted(house.redeem(opened), opened) == ["integrity"]


def test_a_worker_needs_the_public_key_only_and_without_it_nothing_runs(house: House, settings: Any) -> None:
    settings_keys = settings.ROUTEKIT_VERIFY_KEYS
    first, second = approved(house), approved(house)
    settings.ROUTEKIT_SIGNING_KEY = None
    assert isinstance(house.redeem(first), Permit)
    settings.ROUTEKIT_VERIFY_KEYS = ()
    assert drifted(house.redeem(second), second) == ["integrity"]
    settings.ROUTEKIT_VERIFY_KEYS = settings_keys


def test_a_decision_put_in_by_hand_gives_no_permit(house: House) -> None:
    """One reviewer's valid decision copied to a second person, where two have to approve."""
    opened = house.open(approvers=TWO)
    house.decide(opened, house.cast.rita)
    copied = Decision.objects.get()
    copied.id, copied.decided_by, copied.idempotency_key = uuid.uuid4(), house.cast.rolf, "copied"
    copied.save(force_insert=True)
    gate = opened.fresh()
    gate.state, gate.decided_at, gate.hold_until = "approved", house.later(1), house.later(2)
    gate.execute_by = house.later(1000)
    gate.save()
    assert set(drifted(house.redeem(opened), opened)) == {"integrity"}


def test_a_rejection_beside_the_approval_gives_no_permit(house: House) -> None:
    opened = approved(house)
    rejection = Decision.objects.get()
    rejection.id, rejection.decided_by, rejection.idempotency_key = uuid.uuid4(), house.cast.rolf, "other"
    rejection.kind = "reject"
    rejection.signature = sign_decision(decision_facts(opened.fresh(), rejection))
    rejection.save(force_insert=True)
    answer = house.redeem(opened)
    assert drifted(answer, opened) == ["integrity"]
    assert "not all there" in answer.change["differences"][0]["text"]


def test_too_few_decisions_give_no_permit(house: House) -> None:
    opened = approved(house)
    Decision.objects.all().delete()
    assert drifted(house.redeem(opened), opened) == ["integrity"]


def test_a_gate_that_was_refused_is_never_redeemed_again(house: House) -> None:
    opened = approved(house)
    house.redeem(opened, agent_version=2)
    with pytest.raises(NotApproved, match="lapsed"):
        house.redeem(opened)


def test_grant_binds_the_permit_of_an_allowed_call(house: House) -> None:
    opened = house.open()
    first, second = house.grant(opened.binding), house.grant(opened.binding)
    assert (first.gate_id, first.digest, first.call_id) == (None, opened.gate.digest, opened.binding.call_id)
    assert first.nonce != second.nonce
    assert first.id != second.id
    assert TraceEvent.objects.filter(kind="permit.issued", call_id=opened.binding.call_id).count() == 2
