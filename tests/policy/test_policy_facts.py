"""What the rows, the settings and the agent say becomes plain facts; the digest tells what concerns one tool."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.conf import LazySettings

from approvals.effects import Reversibility, ToolPermission
from approvals.models import TenantPolicy, ToolAllowance
from approvals.policy import offered
from approvals.policy_facts import policy_digest, policy_facts
from approvals.types import AllowanceMode, ToolFilter
from tests.fixtures.cast import Cast
from tests.policy.conftest import allow


def test_a_tenant_without_rows_has_the_defaults_and_an_empty_list(cast: Cast, now: datetime) -> None:
    facts = policy_facts(cast.acme.pk, agent_filter=None, now=now)
    gate = facts.hooks.approval_gate
    assert gate is not None
    assert gate.require_approval_for_permissions == (ToolPermission.NETWORK, ToolPermission.FILESYSTEM)
    assert offered(["read_file"], facts) == ()


def test_a_tenants_rows_are_its_own(cast: Cast, now: datetime, settings: LazySettings) -> None:
    settings.ROUTEKIT_TOOL_FILTER = ToolFilter(denied_tools=("run_*",))
    allow(cast.globex, "read_file")
    TenantPolicy.objects.create(tenant=cast.acme, require_approval_for_permissions=["database"], decide_by_seconds=99)
    allow(cast.acme, "write_file", AllowanceMode.ASK, approver_roles=["admin"], approvals_needed=2, four_eyes=False)
    allow(cast.acme, "http_request", AllowanceMode.ALLOW, reversibility="reversible", execute_by_seconds=11)
    allow(cast.acme, "run_python", AllowanceMode.ALLOW)
    facts = policy_facts(cast.acme.pk, agent_filter=None, now=now)
    assert facts.hooks.approval_gate is not None
    assert facts.hooks.approval_gate.require_approval_for_permissions == (ToolPermission.DATABASE,)
    assert offered(["read_file", "write_file", "http_request", "run_python"], facts) == ("write_file", "http_request")
    write, http = facts.allowances["write_file"], facts.allowances["http_request"]
    assert (write.approvers.roles, write.approvers.count, write.approvers.four_eyes) == (("admin",), 2, False)
    assert (write.decide_by_seconds, write.execute_by_seconds) == (99, 900)
    assert (http.reversibility, http.execute_by_seconds) == (Reversibility.REVERSIBLE, 11)


@pytest.mark.parametrize(
    ("change", "concerns_it"),
    [
        ({"mode": "ask"}, True),
        ({"constraints": [{"pointer": "/path", "kind": "glob", "value": "*"}]}, True),
        ({"approvals_needed": 2}, True),
        ({"reversibility": "irreversible"}, True),
        ({"decide_by_seconds": 60}, False),
    ],
)
def test_the_digest_changes_with_what_a_reviewer_would_be_asked(
    cast: Cast,
    now: datetime,
    change: dict[str, Any],
    concerns_it: bool,  # noqa: FBT001 - a table's column
) -> None:
    allow(cast.acme, "read_file")
    before = policy_digest(policy_facts(cast.acme.pk, agent_filter=None, now=now), "read_file")
    ToolAllowance.objects.update(**change)
    after = policy_digest(policy_facts(cast.acme.pk, agent_filter=None, now=now), "read_file")
    assert (before != after) is concerns_it


def test_the_digest_is_about_one_tool_and_the_filters_word_on_it(cast: Cast, now: datetime) -> None:
    allow(cast.acme, "read_file")
    before = policy_digest(policy_facts(cast.acme.pk, agent_filter=None, now=now), "read_file")
    allow(cast.acme, "write_file", AllowanceMode.DENY)
    unrelated = ToolFilter(denied_tools=("http_*",))
    assert policy_digest(policy_facts(cast.acme.pk, agent_filter=unrelated, now=now), "read_file") == before
    denying = ToolFilter(denied_tools=("read_*",))
    assert policy_digest(policy_facts(cast.acme.pk, agent_filter=denying, now=now), "read_file") != before
