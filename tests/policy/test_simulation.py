"""What a draft policy would have changed: on recorded calls, replayed as they were, without touching anything."""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from approvals import rules, simulation
from approvals.effects import Reversibility, ToolPermission
from approvals.models import ApprovalGate, RecordedCall, ToolAllowance
from approvals.policy import decide
from approvals.policy_facts import policy_facts
from approvals.recorded_calls import record_call
from approvals.rules import Reach, RuleChoice
from approvals.simulation import Simulation, draft, simulate
from approvals.tasks import forget_notices
from approvals.types import AllowanceMode, CallFacts, Deny, NeedsApproval, ToolFilter
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import Tenant
from tests.fixtures.gates import House
from tests.policy.conftest import allow

READ = CallFacts(
    tool="read_file",
    arguments={"path": "notes.txt"},
    permissions=frozenset({ToolPermission.FILESYSTEM}),
    reversibility=Reversibility.READ_ONLY,
    agent_id="7",
)


def propose(tenant: Tenant, now: datetime, call: CallFacts = READ, agent_filter: ToolFilter | None = None) -> None:
    """Decide a call and keep its facts, as the agents floor does."""
    verdict = decide(call, policy_facts(tenant.pk, agent_filter=agent_filter, now=now), now)
    record_call(
        tenant_id=tenant.pk,
        run_id=uuid.uuid4(),
        call_id=uuid.uuid4().hex,
        call=call,
        agent_filter=agent_filter,
        verdict=verdict,
        now=now,
    )


def changes(found: Simulation) -> dict[tuple[str, str], int]:
    return {(before, after): count for before, after, count in found.counts}


def entry(house: House, tool: str, mode: AllowanceMode, **fields: Any) -> ToolAllowance:
    return ToolAllowance(tenant=house.cast.acme, tool=tool, mode=mode, **fields)


def test_the_policy_of_now_changes_no_verdict_of_now(house: House) -> None:
    allow(house.cast.acme, "read_file", AllowanceMode.ALLOW)
    propose(house.cast.acme, house.now)
    propose(house.cast.acme, house.now, replace(READ, tool="http_request"))
    propose(house.cast.acme, house.now, agent_filter=ToolFilter(allowed_tools=()))
    house.open()
    found = simulate(house.cast.acme.pk, draft(house.cast.acme.pk), now=house.later(9))
    assert (found.looked_at, found.changed) == (4, ())


def test_a_draft_lists_every_verdict_that_would_change(house: House) -> None:
    acme = house.cast.acme
    allow(acme, "read_file", AllowanceMode.ALLOW)
    propose(acme, house.now)
    propose(acme, house.now, replace(READ, arguments={"path": "secrets/a"}))
    propose(acme, house.now, replace(READ, tool="current_time", permissions=frozenset(), arguments={}))
    rejected = house.open()
    house.decide(rejected, house.cast.rita, rejected.ballot("reject"))
    only_notes = [{"pointer": "/path", "kind": "glob", "value": "*.txt"}]
    changed = [
        entry(house, "read_file", AllowanceMode.ASK, constraints=only_notes),
        entry(house, "write_file", AllowanceMode.ALLOW),
        entry(house, "current_time", AllowanceMode.ALLOW),
    ]
    before = ToolAllowance.objects.count()
    found = simulate(acme.pk, draft(acme.pk, changed=changed), now=house.later(9))
    assert changes(found) == {("allow", "ask"): 1, ("allow", "deny"): 1, ("ask", "allow"): 1, ("deny", "allow"): 1}
    assert [change.past.rejected for change in found.changed if change.before == "ask"] == [True]
    assert ToolAllowance.objects.count() == before
    removed = simulate(acme.pk, draft(acme.pk, removed=["read_file", "write_file"]), now=house.later(9))
    assert changes(removed) == {("allow", "deny"): 2, ("ask", "deny"): 1}


def test_the_past_is_replayed_with_its_own_agent_filter(house: House) -> None:
    acme = house.cast.acme
    propose(acme, house.now, agent_filter=ToolFilter(denied_tools=("read_*",)))
    propose(acme, house.now, agent_filter=ToolFilter(allowed_tools=("read_*",)))
    listed = draft(acme.pk, changed=[entry(house, "read_file", AllowanceMode.ALLOW)])
    assert changes(simulate(acme.pk, listed, now=house.later(9))) == {("deny", "allow"): 1}


def test_a_remembered_rule_speaks_for_the_time_it_was_in_force(house: House) -> None:
    acme = house.cast.acme
    opened = house.open({"path": "reports/a.md", "text": "x"})
    decision = house.decide(opened, house.cast.rita)
    with transaction.atomic():
        rule = rules.make_rule(decision.gate_id, house.cast.rita, RuleChoice(Reach.ANY), now=house.later(10))
    write = replace(
        READ, tool="write_file", arguments={"path": "b", "text": "y"}, reversibility=Reversibility.REVERSIBLE
    )
    propose(acme, house.later(20), write)
    with transaction.atomic():
        rules.revoke(rule.pk, house.cast.rita, now=house.later(30))
    found = simulate(acme.pk, draft(acme.pk), now=house.later(40))
    assert (found.looked_at, found.changed) == (2, ())


def test_only_the_tenants_own_calls_of_the_last_30_days_count(house: House) -> None:
    acme = house.cast.acme
    propose(house.cast.globex, house.now)
    propose(acme, house.now - timedelta(days=31))
    propose(acme, house.now - timedelta(days=29))
    assert simulate(acme.pk, draft(acme.pk), now=house.now).looked_at == 1


@pytest.mark.django_db(transaction=True)
def test_calls_that_nothing_looks_back_to_are_forgotten_by_the_clock(house: House) -> None:
    now = database_now()
    for days in (31, 29, 400):
        propose(house.cast.acme, now - timedelta(days=days))
    forget_notices()
    (left,) = RecordedCall.objects.all()
    assert left.at > now - timedelta(days=30)


def test_a_record_holds_no_raw_argument_and_counts_once(house: House) -> None:
    call_id = uuid.uuid4().hex
    for _ in range(2):
        record_call(
            tenant_id=house.cast.acme.pk,
            run_id=uuid.uuid4(),
            call_id=call_id,
            call=replace(READ, arguments={"path": "someone@example.org"}),
            agent_filter=None,
            verdict=Deny(level="tenant", rule="allow-list", reason="no"),  # type: ignore[arg-type]
            now=house.now,
        )
    (row,) = RecordedCall.objects.values()
    assert b"someone@example.org" not in b"".join(str(value).encode() for value in row.values())


def test_a_made_up_call_is_tested_with_the_tools_own_declaration(house: House) -> None:
    facts = draft(house.cast.acme.pk, changed=[entry(house, "http_request", AllowanceMode.ALLOW)])
    verdict = simulation.tested(facts, "http_request", {"url": "https://example.com/"}, now=house.now)
    assert isinstance(verdict, NeedsApproval)
    assert verdict.rule == "irreversible"


def test_the_command_lists_the_changes(house: House, tmp_path: Path) -> None:
    allow(house.cast.acme, "read_file", AllowanceMode.ALLOW)
    propose(house.cast.acme, timezone.now() - timedelta(hours=1))
    file = tmp_path / "draft.json"
    file.write_text(json.dumps({"version": 1, "tools": [{"tool": "read_file", "mode": "deny"}]}))
    out = io.StringIO()
    call_command("simulate_policy", "acme", str(file), stdout=out)
    assert "read_file" in out.getvalue()
    assert "allow -> deny" in out.getvalue()
    assert out.getvalue().endswith("1 calls looked at, 1 verdicts would change.\n")
    assert ToolAllowance.objects.get(tool="read_file").mode == "allow"


@pytest.mark.parametrize(
    ("tenant", "content", "words"),
    [
        ("nobody", "{}", "no tenant"),
        ("acme", "{", "can't be read"),
        ("acme", '{"version": 1, "tools": [{"tool": "nope", "mode": "deny"}]}', "There is no tool called nope"),
        ("acme", '{"version": 2, "tools": []}', "version"),
    ],
)
@pytest.mark.usefixtures("house")
def test_the_command_refuses_what_it_cannot_use(
    tmp_path: Path,
    tenant: str,
    content: str,
    words: str,
) -> None:
    file = tmp_path / "draft.json"
    file.write_text(content)
    with pytest.raises(CommandError, match=words):
        call_command("simulate_policy", tenant, str(file))


def test_ten_thousand_calls_take_few_queries(house: House, django_assert_max_num_queries: Any) -> None:
    for number in range(40):
        propose(house.cast.acme, house.now, replace(READ, arguments={"path": f"{number}"}))
    assert not ApprovalGate.objects.exists()
    with django_assert_max_num_queries(6):
        facts = draft(house.cast.acme.pk)
        assert simulate(house.cast.acme.pk, facts, now=house.later(1)).looked_at == 40
