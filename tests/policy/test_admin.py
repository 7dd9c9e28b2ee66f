"""The policy pages of the admin: own tenants only, checked at the field, previewed, noted in the ledger, revoked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from approvals import rules
from approvals.models import RecordedCall, TenantPolicy, ToolAllowance, ToolRule
from approvals.rules import Reach, RuleChoice
from approvals.types import AllowanceMode
from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.models import Membership, User
from routekit_site.tenancy.roles import Role
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House
from tests.policy.conftest import allow
from traces.kinds import LedgerKind
from traces.models import LedgerEntry

LIST = reverse("admin:approvals_toolallowance_changelist")
ADD = reverse("admin:approvals_toolallowance_add")
IMPORT = reverse("admin:approvals_toolallowance_import")
EXPORT = reverse("admin:approvals_toolallowance_export")
RULES = reverse("admin:approvals_toolrule_changelist")
REVOKE = reverse("admin:approvals_toolrule_revoke")

ClientOf = Callable[[User], Client]


@pytest.fixture
def adam(cast: Cast, client_of: ClientOf) -> Client:
    return client_of(cast.adam)


def change_url(row: ToolAllowance) -> str:
    return reverse("admin:approvals_toolallowance_change", args=[row.pk])


def form(**changes: Any) -> dict[str, Any]:
    fields = {
        "mode": "ask",
        "constraints": "[]",
        "reversibility": "",
        "approvals_needed": "1",
        "four_eyes": "on",
        "decide_by_seconds": "",
        "execute_by_seconds": "",
        "test_arguments": "",
    }
    return fields | changes


def errors_of(response: Any) -> dict[str, list[str]]:
    assert response.status_code == 200
    return dict(response.context["adminform"].form.errors)


def ledger_facts(kind: LedgerKind = LedgerKind.POLICY_CHANGE) -> list[dict[str, Any]]:
    return [json.loads(entry.facts) for entry in LedgerEntry.objects.filter(kind=kind).order_by("number")]


def test_an_admin_adds_changes_and_removes_a_tool(cast: Cast, adam: Client) -> None:
    under = '[{"pointer": "/path", "kind": "path_under", "value": "reports"}]'
    added = adam.post(ADD, form(tenant=cast.acme.pk, tool="read_file", constraints=under, approver_roles=["admin"]))
    assert added.status_code == 302
    row = ToolAllowance.objects.get()
    assert (row.tenant, row.tool, row.mode, row.approver_roles) == (cast.acme, "read_file", "ask", ["admin"])
    assert adam.post(change_url(row), form(mode="allow")).status_code == 302
    row.refresh_from_db()
    assert (row.mode, row.constraints) == ("allow", [])
    history = adam.get(reverse("admin:approvals_toolallowance_history", args=[row.pk])).content.decode()
    assert "mode: ask → allow" in history
    removed = adam.post(reverse("admin:approvals_toolallowance_delete", args=[row.pk]), {"post": "yes"})
    assert removed.status_code == 302
    assert not ToolAllowance.objects.exists()
    assert [facts["act"] for facts in ledger_facts()] == ["added", "changed", "removed"]
    assert [facts["after"] and facts["after"]["mode"] for facts in ledger_facts()] == ["ask", "allow", None]
    assert {entry.actor for entry in LedgerEntry.objects.all()} == {"adam"}


def test_several_tools_can_be_removed_at_once(cast: Cast, adam: Client) -> None:
    own, other = allow(cast.acme, "read_file"), allow(cast.globex, "read_file")
    chosen = {"action": "delete_selected", "_selected_action": [own.pk, other.pk], "post": "yes"}
    assert adam.post(LIST, chosen).status_code == 302
    assert list(ToolAllowance.objects.all()) == [other]
    assert [facts["act"] for facts in ledger_facts()] == ["removed"]


def test_another_tenants_rows_do_not_exist(cast: Cast, adam: Client) -> None:
    own, other = allow(cast.acme, "read_file"), allow(cast.globex, "write_file", AllowanceMode.ASK)
    shown = adam.get(LIST).content.decode()
    assert change_url(own) in shown
    assert change_url(other) not in shown
    assert "Globex" not in shown
    for name in ("change", "delete", "history"):
        url = reverse(f"admin:approvals_toolallowance_{name}", args=[other.pk])
        assert adam.get(url).status_code == 404
        assert adam.post(url, form(mode="allow", post="yes")).status_code == 404
    assert adam.post(change_url(other), form(_preview="1")).status_code == 404
    assert adam.get(EXPORT, {"tenant": "globex"}).status_code == 404
    other.refresh_from_db()
    assert other.mode == "ask"


def test_a_row_can_be_put_into_no_other_tenant(cast: Cast, adam: Client) -> None:
    refused = adam.post(ADD, form(tenant=cast.globex.pk, tool="read_file"))
    assert "tenant" in errors_of(refused)
    own = allow(cast.acme, "read_file")
    adam.post(change_url(own), form(tenant=cast.globex.pk, tool="http_request", mode="allow"))
    own.refresh_from_db()
    assert (own.tenant, own.tool, own.mode) == (cast.acme, "read_file", "allow")
    policy = adam.post(reverse("admin:approvals_tenantpolicy_add"), {"tenant": cast.globex.pk})
    assert "tenant" in errors_of(policy)
    imported = adam.post(IMPORT, {"tenant": cast.globex.pk, "content": '{"version": 1, "tools": []}', "replace": "on"})
    assert "tenant" in imported.context["form"].errors
    assert not ToolAllowance.objects.filter(tenant=cast.globex).exists()


@pytest.mark.parametrize("name", ["alice", "rita", "carol", "oscar"])
def test_nobody_else_gets_in(cast: Cast, client_of: ClientOf, name: str) -> None:
    row = allow(cast.acme, "read_file")
    client = client_of(getattr(cast, name))
    for url in (LIST, ADD, IMPORT, EXPORT, RULES, change_url(row)):
        assert client.get(url).status_code in {302, 403, 404}
    for url in (ADD, change_url(row), IMPORT, REVOKE):
        assert client.post(url, form(tenant=cast.acme.pk, tool="write_file", mode="allow")).status_code in {
            302,
            403,
            404,
        }
    row.refresh_from_db()
    assert row.mode == AllowanceMode.BY_PERMISSION
    assert ToolAllowance.objects.count() == 1


def test_an_auditor_and_an_operator_are_let_in_but_not_to_this(cast: Cast, client_of: ClientOf) -> None:
    row = allow(cast.acme, "read_file")
    cast.oscar.is_superuser = cast.oscar.is_staff = True
    cast.oscar.save()
    for user in (cast.audra, cast.oscar):
        client = client_of(user)
        assert client.get(reverse("admin:index")).status_code == 200
        assert client.get(LIST).status_code == 403
        assert client.get(change_url(row)).status_code == 404
        assert client.post(ADD, form(tenant=cast.acme.pk, tool="write_file")).status_code == 403


def test_an_admin_elsewhere_is_none_here(cast: Cast, client_of: ClientOf) -> None:
    Membership.objects.create(user=cast.ada, tenant=cast.acme, role=Role.REVIEWER)
    row = allow(cast.acme, "read_file")
    client = client_of(cast.ada)
    assert client.get(change_url(row)).status_code == 404
    assert "tenant" in errors_of(client.post(ADD, form(tenant=cast.acme.pk, tool="write_file")))


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"tool": "nope"}, "tool", "no tool called nope"),
        ({"constraints": "{"}, "constraints", "valid JSON"),
        ({"constraints": "{}"}, "constraints", "JSON list"),
        ({"constraints": '[{"pointer": "path", "kind": "glob", "value": "*"}]'}, "constraints", "begins with /"),
        ({"constraints": '[{"pointer": "/nope", "kind": "glob", "value": "*"}]'}, "constraints", "no argument /nope"),
        (
            {
                "constraints": '[{"pointer": "/path", "kind": "exact", "value": "a"},'
                ' {"pointer": "/path", "kind": "exact", "value": "b"}]'
            },
            "constraints",
            "Nothing can be",
        ),
        (
            {"mode": "deny", "constraints": '[{"pointer": "/path", "kind": "glob", "value": "*"}]'},
            "constraints",
            "takes no constraints",
        ),
        ({"mode": "maybe"}, "mode", "valid choice"),
        ({"approver_roles": ["developer"]}, "approver_roles", "valid choice"),
        ({"approvals_needed": "0"}, "approvals_needed", "Between 1 and 5"),
        ({"approvals_needed": "6"}, "approvals_needed", "Between 1 and 5"),
        ({"decide_by_seconds": "5"}, "decide_by_seconds", "10"),
        ({"execute_by_seconds": "2592001"}, "execute_by_seconds", "30 days"),
        ({"test_arguments": "[1]"}, "test_arguments", "JSON object"),
        ({"tenant": ""}, "tenant", "required"),
    ],
)
def test_what_is_wrong_is_said_at_the_field(
    cast: Cast, adam: Client, changes: dict[str, Any], field: str, words: str
) -> None:
    response = adam.post(ADD, form(tenant=cast.acme.pk, tool="read_file") | changes)
    found = errors_of(response)
    assert list(found) == [field]
    assert words in " ".join(found[field])
    assert not ToolAllowance.objects.exists()
    assert not LedgerEntry.objects.exists()


def test_a_tool_is_listed_once(cast: Cast, adam: Client) -> None:
    allow(cast.acme, "read_file")
    response = adam.post(ADD, form(tenant=cast.acme.pk, tool="read_file"))
    assert "already exists" in str(errors_of(response))


def past_read(cast: Cast, path: str) -> None:
    RecordedCall.objects.create(
        tenant=cast.acme,
        run_id="00000000-0000-0000-0000-000000000001",
        call_id=path,
        at=timezone.now() - timedelta(days=1),
        tool="read_file",
        agent_id="7",
        arguments_sealed=seal({"path": path}),
        permissions=["filesystem"],
        reversibility="read_only",
        verdict="allow",
        level="tenant",
        rule="allow-list: read_file",
    )


def test_preview_shows_what_would_change_and_saves_nothing(cast: Cast, adam: Client) -> None:
    row = allow(cast.acme, "read_file", AllowanceMode.ALLOW)
    past_read(cast, "reports/a.md")
    past_read(cast, "secret-plan.md")
    under = '[{"pointer": "/path", "kind": "path_under", "value": "reports"}]'
    sent = form(mode="ask", constraints=under, test_arguments='{"path": "notes.txt"}', _preview="1")
    response = adam.post(change_url(row), sent)
    assert response.status_code == 200
    preview = response.context["preview"]
    assert {(b, a): n for b, a, n in preview["simulation"].counts} == {("allow", "ask"): 1, ("allow", "deny"): 1}
    assert preview["verdict_name"] == "deny"
    page = response.content.decode()
    assert "allow → deny: 1" in page
    assert "nothing is saved yet" in page
    assert "secret-plan" not in page
    assert "path_under" in page, "the form keeps what was typed"
    row.refresh_from_db()
    assert (row.mode, row.constraints) == ("allow", [])
    assert not LedgerEntry.objects.exists()


def test_preview_of_a_new_tool_and_of_a_bad_form(cast: Cast, adam: Client) -> None:
    good = adam.post(
        ADD, form(tenant=cast.acme.pk, tool="current_time", mode="allow", test_arguments="{}", _preview="1")
    )
    assert good.context["preview"]["verdict_name"] == "allow"
    # Nothing is an empty box, and who has one tenant need not choose it.
    empty = adam.get(ADD).context["adminform"].form
    assert empty["test_arguments"].value() == ""
    assert empty["tenant"].value() == cast.acme.pk
    # Zero of zero would read as "this changes nothing".
    assert "No agent has called a tool here in the last 30 days" in good.text
    bad = adam.post(ADD, form(tenant=cast.acme.pk, tool="current_time", constraints="{}", _preview="1"))
    assert "constraints" in errors_of(bad)
    assert bad.context["preview"] is None
    assert not ToolAllowance.objects.exists()


def test_the_tenants_policy_is_edited_with_its_clocks(cast: Cast, adam: Client, settings: LazySettings) -> None:
    settings.ROUTEKIT_APPROVAL_CALLBACKS = ("site.callbacks.check",)
    url = reverse("admin:approvals_tenantpolicy_add")
    sent: dict[str, Any] = {
        "tenant": cast.acme.pk,
        "require_approval_for_permissions": ["network"],
        "approval_callback": "site.callbacks.check",
        "approval_hold_seconds": "5",
        "rejection_hold_seconds": "0",
        "decide_by_seconds": "3600",
        "execute_by_seconds": "900",
    }
    for field, value in (
        ("approval_callback", "os.system"),
        ("require_approval_for_permissions", ["root"]),
        ("decide_by_seconds", "9"),
        ("execute_by_seconds", "9999999"),
        ("approval_hold_seconds", "601"),
    ):
        assert list(errors_of(adam.post(url, sent | {field: value}))) == [field]
    assert adam.post(url, sent).status_code == 302
    row = TenantPolicy.objects.get()
    assert row.require_approval_for_permissions == ["network"]
    assert ledger_facts()[-1]["subject"] == "policy"
    change = reverse("admin:approvals_tenantpolicy_change", args=[row.pk])
    assert adam.post(change, sent | {"require_approval_for_permissions": [], "_preview": "1"}).status_code == 200
    row.refresh_from_db()
    assert row.require_approval_for_permissions == ["network"]
    assert "already exists" in str(errors_of(adam.post(url, sent)))


def test_an_exported_list_can_be_imported_again(cast: Cast, adam: Client) -> None:
    allow(cast.acme, "read_file", constraints=[{"pointer": "/path", "kind": "glob", "value": "*.md"}])
    allow(cast.acme, "write_file", AllowanceMode.ASK, approvals_needed=2, decide_by_seconds=60)
    response = adam.get(EXPORT, {"tenant": "acme"})
    assert response["Content-Disposition"] == 'attachment; filename="allow-list-acme.json"'
    before = list(ToolAllowance.objects.order_by("tool").values_list("tool", "mode", "constraints", "approvals_needed"))
    ToolAllowance.objects.all().delete()
    allow(cast.acme, "http_request")
    content = response.content.decode()
    preview = adam.post(IMPORT, {"tenant": cast.acme.pk, "content": content, "replace": "on", "_preview": "1"})
    assert preview.context["preview"]["simulation"].looked_at == 0
    assert [row.tool for row in ToolAllowance.objects.all()] == ["http_request"]
    assert adam.post(IMPORT, {"tenant": cast.acme.pk, "content": content, "replace": "on"}).status_code == 302
    after = list(ToolAllowance.objects.order_by("tool").values_list("tool", "mode", "constraints", "approvals_needed"))
    assert after == before
    (facts,) = ledger_facts()
    assert (facts["act"], sorted(facts["tools"])) == ("imported", ["http_request", "read_file", "write_file"])
    adam.post(IMPORT, {"tenant": cast.acme.pk, "content": content})
    assert len(ledger_facts()) == 1, "what changes nothing is no change"


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([{"tool": "nope", "mode": "ask"}], "no tool called nope"),
        ([{"tool": "read_file", "mode": "sure"}], "tools.1.mode"),
        ([{"tool": "read_file", "mode": "ask", "owner": 1}], "tools.1.owner"),
        ([{"tool": "read_file", "mode": "ask"}] * 2, "more than once"),
        ([{"tool": "read_file", "mode": "ask", "constraints": [{"pointer": "x"}]}], "read_file, constraints"),
        ([{"tool": "read_file", "mode": "ask"}, {"tool": "nope", "mode": "ask"}], "nope"),
    ],
)
def test_an_import_is_all_or_nothing(cast: Cast, adam: Client, tools: list[Any], words: str) -> None:
    response = adam.post(IMPORT, {"tenant": cast.acme.pk, "content": json.dumps({"version": 1, "tools": tools})})
    assert words in " ".join(response.context["form"].errors["content"])
    assert not ToolAllowance.objects.exists()


def test_rules_are_counted_faded_when_over_and_revoked_with_one_click(house: House, adam: Client) -> None:
    opened = house.open({"path": "reports/a.md", "text": "x"})
    decision = house.decide(opened, house.cast.rita)
    with transaction.atomic():
        rule = rules.make_rule(
            decision.gate_id, house.cast.rita, RuleChoice(Reach.SIMILAR, max_uses=7), now=timezone.now()
        )
    page = adam.get(RULES).content.decode()
    assert "0 of 7" in page
    assert f'value="{rule.pk}"' in page
    assert "rule-over" not in page
    assert adam.get(REVOKE).status_code == 405
    assert adam.post(REVOKE, {"rule": rule.pk}).status_code == 302
    rule.refresh_from_db()
    assert rule.revoked_by == house.cast.adam
    page = adam.get(RULES).content.decode()
    assert "rule-over" in page
    assert "revoked by adam" in page
    assert ledger_facts(LedgerKind.RULE_CHANGE)[-1]["act"] == "revoked"
    adam.post(REVOKE, {"rule": rule.pk})
    assert len(ledger_facts(LedgerKind.RULE_CHANGE)) == 2


def test_a_rule_that_nobody_needs_fades(house: House, adam: Client) -> None:
    opened = house.open()
    decision = house.decide(opened, house.cast.rita)
    choice, made_at = RuleChoice(Reach.ANY, ttl=timedelta(days=30)), timezone.now() - timedelta(days=8)
    with transaction.atomic():
        rule = rules.make_rule(decision.gate_id, house.cast.rita, choice, now=made_at)
    assert "rule-idle" in adam.get(RULES).content.decode()
    with transaction.atomic():
        rules.use(rule.pk, now=timezone.now())
    page = adam.get(RULES).content.decode()
    assert "rule-idle" not in page
    assert "1 of 100" in page


def test_another_tenants_rule_cannot_be_seen_or_revoked(house: House, client_of: ClientOf) -> None:
    opened = house.open({"path": "reports/a.md", "text": "x"})
    decision = house.decide(opened, house.cast.rita)
    with transaction.atomic():
        rule = rules.make_rule(decision.gate_id, house.cast.rita, RuleChoice(Reach.ANY), now=house.later(2))
    ada = client_of(house.cast.ada)
    assert str(rule.pk) not in ada.get(RULES).content.decode()
    assert ada.get(reverse("admin:approvals_toolrule_change", args=[rule.pk])).status_code == 404
    assert ada.post(REVOKE, {"rule": rule.pk}).status_code == 404
    assert ada.post(REVOKE, {"rule": "nonsense"}).status_code == 404
    rule.refresh_from_db()
    assert rule.revoked_at is None


def test_a_rule_is_neither_added_changed_nor_deleted_by_hand(house: House, adam: Client) -> None:
    opened = house.open()
    decision = house.decide(opened, house.cast.rita)
    with transaction.atomic():
        rule = rules.make_rule(decision.gate_id, house.cast.rita, RuleChoice(Reach.ANY), now=house.later(2))
    assert adam.get(reverse("admin:approvals_toolrule_change", args=[rule.pk])).status_code == 200
    assert adam.post(reverse("admin:approvals_toolrule_change", args=[rule.pk]), {"max_uses": 9}).status_code == 403
    assert adam.post(reverse("admin:approvals_toolrule_delete", args=[rule.pk]), {"post": "yes"}).status_code == 403
    assert adam.post(reverse("admin:approvals_toolrule_add"), {}).status_code == 403
    assert ToolRule.objects.get().max_uses == 100


def test_a_list_can_be_narrowed_but_not_used_to_spy(cast: Cast, adam: Client) -> None:
    allow(cast.acme, "read_file")
    assert adam.get(LIST, {"mode__exact": "by_permission"}).status_code == 200
    assert adam.get(LIST, {"tenant__memberships__user__password__startswith": "md5"}).status_code == 400
