"""Agents in the admin: checked at the field, versioned, in the ledger, own tenant only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from agents.admin_forms import sandbox_folder
from agents.models import Agent, TenantCeiling
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from traces import ledger
from traces.models import LedgerEntry

URL = "/admin/agents/agent/"


@pytest.fixture
def agent(cast: Cast) -> Agent:
    return Agent.objects.create(tenant=cast.acme, name="Files")


def fields(agent: Agent, **changes: Any) -> dict[str, Any]:
    sent = {
        "name": agent.name,
        "description": "",
        "enabled": "on",
        "instructions": "",
        "provider": "scripted",
        "model": "",
        "tool_filter": "",
        "sandbox": "{}",
        "runtime": "{}",
        "max_steps": 20,
        "max_tokens": 1000,
        "max_cost_microdollars": 5,
        "time_limit_seconds": 60,
        "input_price": 0,
        "output_price": 0,
        "seen_version": agent.version,
    }
    return sent | changes


def change(client: Client, agent: Agent, **changes: Any) -> str:
    """Send the form; the page that came back, or an empty text after a save."""
    answer = client.post(f"{URL}{agent.pk}/change/", fields(agent, **changes))
    assert answer.status_code in (200, 302)
    return "" if answer.status_code == 302 else answer.content.decode()


def test_each_change_is_a_version_and_a_ledger_entry(
    agent: Agent, cast: Cast, client_of: Callable[[User], Client]
) -> None:
    client = client_of(cast.adam)
    assert change(client, agent, instructions="Be brief.", tool_filter='{"denied_tools": ["delete_*"]}') == ""
    agent.refresh_from_db()
    assert (agent.version, agent.instructions, agent.tool_filter) == (2, "Be brief.", {"denied_tools": ["delete_*"]})
    entry = LedgerEntry.objects.get()
    assert (entry.kind, entry.actor) == ("policy_change", "adam")
    assert "Be brief." in str(ledger.facts_of(entry))
    assert change(client, agent, instructions="Be brief.", tool_filter='{"denied_tools": ["delete_*"]}') == ""
    agent.refresh_from_db()
    assert (agent.version, LedgerEntry.objects.count()) == (2, 1)


def test_a_form_that_was_overtaken_changes_nothing(
    agent: Agent, cast: Cast, client_of: Callable[[User], Client]
) -> None:
    page = change(client_of(cast.adam), agent, instructions="late", seen_version=agent.version - 1)
    assert "Somebody else changed this agent" in page
    agent.refresh_from_db()
    assert (agent.instructions, agent.version) == ("", 1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tool_filter", '{"allow": ["x"]}', "allow: Extra inputs are not permitted"),
        ("tool_filter", "{", "Enter a valid JSON."),
        ("sandbox", '{"filesystem": {"sandbox_root": "relative"}}', "write an absolute path"),
        ("sandbox", '{"filesystem": {"sandbox_root": "/etc/x"}}', "belongs to the system"),
        ("sandbox", '{"filesystem": {"sandbox_root": "/srv/elsewhere"}}', "only an operator may grant a folder"),
        (
            "sandbox",
            '{"network": {"allowed_networks": ["10.0.0.0/8"]}}',
            "only an operator may allow a private address",
        ),
        ("sandbox", '{"require": "best_effort"}', "Only an operator may let tools run"),
        ("sandbox", '{"surprise": 1}', "surprise: Extra inputs are not permitted"),
        ("sandbox", '{"limits": {"timeout": 600}}', "limits.timeout: 600 is above this tenant&#x27;s ceiling of 120"),
        ("runtime", '{"timeout": 600}', "timeout: 600 is above this tenant&#x27;s ceiling of 60"),
        ("runtime", '{"retries": 1}', "retries: Extra inputs are not permitted"),
        ("runtime", "[1]", "Write names and numbers"),
        ("runtime", '{"max_retries": -1}', "max_retries: Input should be greater than or equal to 0"),
        ("provider", "nobody", "Select a valid choice"),
    ],
)
def test_what_is_wrong_is_said_at_the_field(
    agent: Agent, cast: Cast, client_of: Callable[[User], Client], *, field: str, value: str, message: str
) -> None:
    TenantCeiling.objects.create(tenant=cast.acme, limits={"timeout": 120}, runtime={"timeout": 60})
    page = change(client_of(cast.adam), agent, **{field: value})
    assert message in page
    assert Agent.objects.get().version == 1
    assert not LedgerEntry.objects.exists()


def test_an_admin_grants_folders_of_the_tenant_and_an_operator_any(
    agent: Agent, cast: Cast, client_of: Callable[[User], Client]
) -> None:
    own = f'{{"filesystem": {{"sandbox_root": "{sandbox_folder(cast.acme)}/files"}}}}'
    assert change(client_of(cast.adam), agent, sandbox=own) == ""
    agent.refresh_from_db()
    User.objects.filter(pk=cast.adam.pk).update(is_superuser=True)
    theirs = '{"filesystem": {"sandbox_root": "/srv/elsewhere"}, "network": {"allowed_networks": ["127.0.0.1:8000"]}}'
    assert change(client_of(cast.adam), agent, sandbox=theirs) == ""
    agent.refresh_from_db()
    User.objects.filter(pk=cast.adam.pk).update(is_superuser=False)
    assert change(client_of(cast.adam), agent, sandbox=theirs, instructions="Kept as granted.") == ""


@pytest.mark.parametrize("place", ["allowed_paths", "sandbox_root", "inside"])
def test_what_an_operator_let_be_read_only_an_operator_lets_be_written(
    agent: Agent, cast: Cast, client_of: Callable[[User], Client], place: str
) -> None:
    own = f"{sandbox_folder(cast.acme)}/files"
    granted: dict[str, Any] = {"sandbox_root": own, "read_only_paths": ["/srv/shared"]}
    if place == "inside":
        granted |= {"allowed_paths": ["/srv/all"], "read_only_paths": ["/srv/all/shared"]}
    Agent.objects.filter(pk=agent.pk).update(sandbox={"filesystem": granted})
    agent.refresh_from_db()
    written: dict[str, dict[str, Any]] = {
        "allowed_paths": {"allowed_paths": ["/srv/shared"]},
        "sandbox_root": {"sandbox_root": "/srv/shared"},
        "inside": {"allowed_paths": ["/srv/all"]},
    }
    asked = json.dumps({"filesystem": {"sandbox_root": own, **written[place]}})
    assert "only an operator may let tools write" in change(client_of(cast.adam), agent, sandbox=asked)
    agent.refresh_from_db()
    assert agent.sandbox == {"filesystem": granted}
    back = json.dumps({"filesystem": {"sandbox_root": own}})
    assert change(client_of(cast.adam), agent, sandbox=back) == ""
    User.objects.filter(pk=cast.adam.pk).update(is_superuser=True)
    agent.refresh_from_db()
    assert change(client_of(cast.adam), agent, sandbox=asked) == ""


def test_agents_of_other_tenants_do_not_exist(agent: Agent, cast: Cast, client_of: Callable[[User], Client]) -> None:
    assert client_of(cast.ada).get(f"{URL}{agent.pk}/change/").status_code == 404
    assert client_of(cast.rita).get(URL).status_code in (302, 403)
    assert agent.name not in client_of(cast.ada).get(URL).content.decode()
    assert client_of(cast.ada).post(f"{URL}add/", fields(agent, tenant=cast.acme.pk, name="Mole")).status_code == 200
    assert not Agent.objects.filter(name="Mole").exists()
