"""Policy facts that are kept between steps on PostgreSQL are those of the rows as they stand, whatever changes them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures.migrated import migrated_database
from tests.fixtures.processes import Site, prepare_stack
from tests.fixtures.services import Services

LOOK = """
import uuid
from datetime import timedelta
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from approvals.models import Containment, TenantPolicy, ToolAllowance, ToolRule
from approvals.policy_facts import policy_facts
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.models import Tenant, User

acme, adam = Tenant.objects.get(slug="acme"), User.objects.get(username="adam")
now = timezone.now()
entry = ToolAllowance.objects.filter(tenant=acme, tool="calculator")
entry.update(mode="ask")

def look(agent="1"):
    facts = policy_facts(acme.pk, agent_filter=None, now=now, agent_id=agent)
    found = facts.allowances.get("calculator")
    permissions = [str(each) for each in facts.hooks.approval_gate.require_approval_for_permissions]
    return found and str(found.mode), found and found.contained, permissions, len(facts.rules)

def cost(agent="1"):
    with CaptureQueriesContext(connection) as sent:
        look(agent)
    return len(sent)

before = look()
"""


@pytest.fixture(scope="module")
def site(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A migrated database with demo data; nothing runs."""
    with migrated_database(services.database_url) as database_url:
        yield prepare_stack(tmp_path_factory.mktemp("policy"), Services(database_url, services.redis_url))


def told(site: Site, code: str) -> str:
    """What the code prints inside of the site."""
    return site.manage("shell", "--no-imports", "--command", LOOK + code).stdout.strip()


def test_rows_that_stand_as_they_were_are_not_read_again(site: Site) -> None:
    assert told(site, "print(cost(), cost(), cost('another') > 1, cost('another'))") == "1 1 True 1"


def test_every_change_is_seen_with_the_next_look(site: Site) -> None:
    code = """
said = [before[0]]
entry.update(mode="deny")
said.append(look()[0])
entry.update(mode="ask")
said.append(look()[0])
with connection.cursor() as cursor:
    cursor.execute("UPDATE approvals_toolallowance SET mode = 'allow' WHERE tool = 'calculator'")
said.append(look()[0])
TenantPolicy.objects.update_or_create(tenant=acme, defaults={"require_approval_for_permissions": ["network"]})
said.append(look()[2])
entry.delete()
said.append(look()[0])
print(said)
"""
    assert told(site, code) == "['ask', 'deny', 'ask', 'allow', ['network'], None]"


def test_two_changes_of_one_transaction_and_one_that_is_rolled_back_are_told_apart(site: Site) -> None:
    code = """
ToolAllowance.objects.update_or_create(tenant=acme, tool="calculator", defaults={"mode": "ask"})
said = [look()[0]]
with transaction.atomic():
    entry.update(mode="deny")
    said.append(look()[0])
    entry.update(mode="allow")
    said.append(look()[0])
    transaction.set_rollback(True)
said.append(look()[0])
print(said)
"""
    assert told(site, code) == "['ask', 'deny', 'allow', 'ask']"


def test_what_is_contained_for_one_agent_is_so_at_once_and_for_it_alone(site: Site) -> None:
    code = """
ToolAllowance.objects.update_or_create(tenant=acme, tool="calculator", defaults={"mode": "ask"})
said = [look()[1], look("2")[1]]
made = Containment.objects.create(
    tenant=acme, tool="calculator", agent_id="1", attack_class="x", detail="x", tier="T2", begun_at=now,
    run_id=uuid.uuid4(),
)
said += [look()[1], look("2")[1]]
Containment.objects.filter(pk=made.pk).update(lifted_at=now, lifted_by=adam, lift_reason="x")
said += [look()[1], look("2")[1]]
print(said)
"""
    assert told(site, code) == "[False, False, True, False, False, False]"


def test_a_remembered_rule_is_read_each_time(site: Site) -> None:
    code = """
ToolRule.objects.create(
    tenant=acme, tool="calculator", constraints_sealed=seal([]), summary="x", made_by=adam, made_at=now,
    expires_at=now + timedelta(hours=1), max_uses=2,
)
said = [look()[3]]
ToolRule.objects.update(uses=2)
said.append(look()[3])
print(before[3], said)
"""
    assert told(site, code) == "0 [1, 0]"
