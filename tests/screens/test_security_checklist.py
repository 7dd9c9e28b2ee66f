"""The checklist follows the live configuration: each item is broken and mended by the settings that it names."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from agents.models import Agent
from approvals.models import TenantPolicy, ToolAllowance
from routekit_site.security_checklist import Item, checklist
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from traces import append_only, ledger
from traces.models import LedgerEntry, RedactionPolicy, RetentionPolicy
from traces.policy_reviews import record_review
from traces.redactors import default_hook

ClientOf = Callable[[User], Client]


@pytest.fixture
def sound(cast: Cast, agent: Agent) -> Cast:
    """Acme with everything in order."""
    append_only.install(connection)
    ToolAllowance.objects.filter(tenant=cast.acme, mode="allow").delete()
    RetentionPolicy.objects.create(tenant=cast.acme, trace_days=90)
    for user in (cast.rita, cast.rolf, cast.adam):
        Authenticator.objects.create(user=user, type="totp", data={"secret": "x"})
    record_review(tenant_id=cast.acme.pk, actor="adam", note="", days=90, now=timezone.now())
    assert agent.tenant == cast.acme
    return cast


def item(cast: Cast, key: str) -> Item:
    return next(each for each in checklist(cast.acme, timezone.now()) if each.key == key)


def test_all_eight_hold_when_everything_is_in_order(sound: Cast) -> None:
    found = checklist(sound.acme, timezone.now())
    assert len(found) == 8
    assert [each.found for each in found if not each.holds] == []
    call_command("security_checklist", tenant="acme")


def _redaction(cast: Cast) -> None:
    hook = default_hook().model_copy(update={"redact_cards": False}).model_dump(mode="json")
    RedactionPolicy.objects.create(tenant=cast.acme, version=1, hook=hook)


def _deny(cast: Cast) -> None:
    from approvals.manifests import all_manifests  # noqa: PLC0415 - registered by now

    ToolAllowance.objects.filter(tenant=cast.acme).delete()
    for manifest in all_manifests():
        ToolAllowance.objects.create(tenant=cast.acme, tool=manifest.name, mode="ask")


BREAKS: dict[str, tuple[Callable[[Cast], Any], str]] = {
    "redaction": (_redaction, "Not redacted: cards"),
    "deny-lists": (_deny, "Denied here: none"),
    "gates": (
        lambda cast: TenantPolicy.objects.create(tenant=cast.acme, require_approval_for_permissions=["network"]),
        "filesystem",
    ),
    "timeouts": (lambda cast: TenantPolicy.objects.create(tenant=cast.acme, execute_by_seconds=90_000), "a day"),
    "keys": (
        lambda cast: Agent.objects.filter(tenant=cast.acme).update(instructions=f"use sk-proj-{secrets.token_hex(24)}"),
        "Files and web",
    ),
    "traces": (lambda cast: RetentionPolicy.objects.filter(tenant=cast.acme).update(trace_days=None), "for ever"),
    "access": (lambda cast: Authenticator.objects.filter(user=cast.rita).delete(), "rita"),
    "reviews": (
        lambda cast: record_review(
            tenant_id=cast.acme.pk, actor="adam", note="", days=30, now=timezone.now() - timedelta(days=31)
        ),
        "was due",
    ),
}


@pytest.mark.parametrize("key", BREAKS)
def test_each_item_follows_its_setting(sound: Cast, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken, words = BREAKS[key]
    broken(sound)
    found = item(sound, key)
    assert not found.holds
    assert words in found.found
    assert found.mend
    with pytest.raises(CommandError, match="1 item does not hold"):
        call_command("security_checklist", tenant="acme")
    assert "FAIL" in capsys.readouterr().out


def test_the_guard_of_the_tables_is_looked_for(sound: Cast) -> None:
    append_only.remove(connection)
    assert "guard is missing" in item(sound, "traces").found


def test_demo_mode_is_no_place_for_keys(sound: Cast, settings: Any) -> None:
    settings.DEMO = True
    assert not item(sound, "keys").holds


def test_the_page_is_for_admins_and_notes_a_review(client_of: ClientOf, cast: Cast) -> None:
    client = client_of(cast.adam)
    page = client.get("/security/")
    assert page.text.count("Mend it") >= 2
    assert "Nobody has reviewed the policy yet" in page.text
    assert client.post("/security/", {"days": "90", "note": "Took <b>run_python</b> off."}).status_code == 302
    assert "adam reviewed it on" in client.get("/security/").text
    entry = LedgerEntry.objects.get(tenant=cast.acme)
    assert entry.actor == "adam"
    assert ledger.facts_of(entry)["note"] == "Took <b>run_python</b> off."
    for user, status in ((cast.alice, 403), (cast.rita, 403), (cast.audra, 403), (cast.oscar, 404)):
        assert client_of(user).get("/security/").status_code == status
        assert client_of(user).post("/security/", {"days": "90"}).status_code == status
    assert LedgerEntry.objects.filter(tenant=cast.acme).count() == 1
    # Another tenant's admin sees their own.
    assert "adam reviewed" not in client_of(cast.ada).get("/security/").text


@pytest.mark.parametrize("sent", [{}, {"days": "1"}, {"days": "x"}, {"days": "90", "note": "n" * 501}])
def test_what_is_wrong_with_a_review_is_said(client_of: ClientOf, cast: Cast, sent: dict[str, str]) -> None:
    assert client_of(cast.adam).post("/security/", {"x": "1", **sent}).status_code == 422
    assert not LedgerEntry.objects.exists()


def test_json_for_a_machine(sound: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("security_checklist", tenant=sound.acme.slug, json=True)
    assert '"holds": true' in capsys.readouterr().out
    with pytest.raises(CommandError, match="no tenant"):
        call_command("security_checklist", tenant="nowhere")
