"""A tenant's redaction settings: refused with a message at the field, tried before saving, in force at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from traces import ledger, redactors
from traces.models import LedgerEntry, RedactionPolicy, RetentionPolicy

ClientOf = Callable[[User], Client]
ADD = "/admin/traces/redactionpolicy/add/"
PREVIEW = "/admin/traces/redactionpolicy/preview/"


def entered(cast: Cast, **more: Any) -> dict[str, Any]:
    """The form as adam fills it in."""
    return {
        "tenant": cast.acme.pk,
        "redact_emails": "on",
        "redact_secrets": "on",
        "mode": "typed",
        "replacement": "[REDACTED]",
        "patterns": "",
        "sample": "",
        **more,
    }


def test_saved_settings_hold_at_once_and_stand_in_the_ledger(cast: Cast, client_of: ClientOf) -> None:
    client = client_of(cast.adam)
    before = redactors.redactor_version(cast.acme.pk)
    text = "Case ZX-1234 of erika.mustermann@example.org"
    assert redactors.redact(cast.acme.pk, text) == "Case ZX-1234 of [EMAIL]"
    assert client.post(ADD, entered(cast, patterns="\\bZX-\\d{4}\\b => [CASE]\r\n")).status_code == 302
    assert redactors.redact(cast.acme.pk, text) == "Case [CASE] of [EMAIL]"
    page = f"/admin/traces/redactionpolicy/{cast.acme.pk}/change/"
    assert "\\bZX-\\d{4}\\b =&gt; [CASE]" in client.get(page).content.decode()
    values = entered(cast)
    del values["redact_emails"]
    assert client.post(page, values).status_code == 302
    assert redactors.redact(cast.acme.pk, text) == text
    assert redactors.redact(cast.globex.pk, text) == "Case ZX-1234 of [EMAIL]"
    assert redactors.redactor_version(cast.acme.pk) == before + 2
    changes = [ledger.facts_of(entry) for entry in LedgerEntry.objects.order_by("number")]
    assert [(change["before"] or {}).get("version") for change in changes] == [None, 1]
    assert changes[1]["after"]["redact_emails"] is False


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"patterns": "ok => x\n( => y"}, "patterns", "Line 2: the pattern is not valid RE2 syntax"),
        ({"patterns": "a* => x"}, "patterns", "Line 1: the pattern matches the empty string"),
        ({"patterns": "a => \\3"}, "patterns", "Line 1: the pattern has fewer groups than its replacement names"),
        ({"patterns": "a => <\\0>"}, "patterns", "puts the whole value back"),
        ({"patterns": "a => \\g<0>"}, "patterns", "puts the whole value back"),
        ({"patterns": "a => x\x1b[2J"}, "patterns", "don't show"),
        ({"patterns": "no arrow"}, "patterns", "Line 1: write pattern => replacement"),
        ({"patterns": "x" * 600 + " => y"}, "patterns", "longer than 512"),
        ({"patterns": "a => " + "y" * 600}, "patterns", "Line 1: the pattern has a replacement longer than"),
        (
            {"patterns": "\n".join(f"a{number} => x" for number in range(40))},
            "patterns",
            "There are 40 patterns; at most 32",
        ),
        ({"replacement": "a@example.org"}, "replacement", "looks like a value"),
        ({"mode": "other"}, "mode", "valid choice"),
    ],
)
def test_what_the_redactor_refuses_is_said_at_the_field(
    cast: Cast, client_of: ClientOf, values: dict[str, str], field: str, said: str
) -> None:
    answer = client_of(cast.adam).post(ADD, entered(cast, **values))
    assert answer.status_code == 200
    assert said in " ".join(answer.context["adminform"].form.errors[field])
    assert not RedactionPolicy.objects.exists()


def test_the_preview_redacts_with_what_is_entered_and_stores_nothing(cast: Cast, client_of: ClientOf) -> None:
    client = client_of(cast.adam)
    values = entered(cast, sample="ZX-1234, a.b@example.org", patterns="ZX-\\d+ => [CASE]")
    assert client.post(PREVIEW, values).json() == {"text": "[CASE], [EMAIL]"}
    refused = client.post(PREVIEW, {**values, "patterns": "("})
    assert refused.status_code == 422
    assert "Line 1" in refused.json()["errors"]["patterns"][0]["message"]
    assert client.get(PREVIEW).status_code == 405
    assert not RedactionPolicy.objects.exists()


def test_nobody_else_reads_changes_or_deletes_them(cast: Cast, client_of: ClientOf) -> None:
    assert client_of(cast.adam).post(ADD, entered(cast)).status_code == 302
    page = f"/admin/traces/redactionpolicy/{cast.acme.pk}/"
    for person in (cast.alice, cast.rita, cast.audra, cast.ada, cast.oscar):
        client = client_of(person)
        assert client.get(f"{page}change/").status_code in {302, 403, 404}, person
        assert client.post(f"{page}change/", entered(cast, mode="pseudonym")).status_code in {302, 403, 404}, person
    for person in (cast.alice, cast.rita, cast.audra, cast.oscar):
        assert client_of(person).post(PREVIEW, entered(cast)).status_code in {302, 403, 404}, person
    assert client_of(cast.ada).post(ADD, entered(cast)).status_code in {200, 403}
    assert client_of(cast.adam).post(f"{page}delete/", {"post": "yes"}).status_code == 403
    assert RedactionPolicy.objects.get().hook["mode"] == "typed"


def test_retention_is_set_per_tenant_with_a_message_for_nonsense(cast: Cast, client_of: ClientOf) -> None:
    client, add = client_of(cast.adam), "/admin/traces/retentionpolicy/add/"
    values = {"tenant": cast.acme.pk, "trace_days": "0", "ledger_days": "-1", "raw_days": "36501"}
    errors = client.post(add, values).context["adminform"].form.errors
    assert "at least one day" in errors["trace_days"][0]
    assert "greater than or equal to 0" in errors["ledger_days"][0]
    assert "36,500 days at most" in errors["raw_days"][0]
    assert client.post(add, {**values, "trace_days": "30", "ledger_days": "", "raw_days": ""}).status_code == 302
    policy = RetentionPolicy.objects.get()
    assert (policy.trace_days, policy.ledger_days) == (30, None)
    assert ledger.facts_of(LedgerEntry.objects.get())["after"]["trace_days"] == 30
