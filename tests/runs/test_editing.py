"""A reviewer edits the arguments of a waiting call: checked, judged, asked about anew, run once, told to the model."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from agents.models import Run, ToolCall
from agents.providers.protocol import AssistantMessage, ToolMessage
from agents.runs import editing
from agents.runs.transcript import messages_of
from agents.states import CallState, RunState
from approvals import gates
from approvals.errors import AlreadyDecided, StaleView
from approvals.models import ApprovalGate, Decision, TenantPolicy
from approvals.states import GateState
from approvals.types import AllowanceMode
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.encryption import unseal
from routekit_site.tenancy.models import User
from tests.runs.conftest import Bench, allow
from traces.models import LedgerEntry, TraceEvent

WRITE = 'write_file {"path": "summary.txt", "text": "All is well."}'
GOOD = {"path": "summary.txt", "text": "All is very well.", "overwrite": "false"}
Clients = Callable[[User], Client]


def post(client: Client, gate: ApprovalGate, arguments: dict[str, str], **changes: str) -> HttpResponse:
    """Send the editor's form as a page that shows this gate would."""
    sent = {
        "digest": gate.digest,
        "view_digest": gate.view_digest,
        "idempotency_key": uuid.uuid4().hex,
        "reason": "A clearer text",
        **{f"argument-{name}": text for name, text in arguments.items()},
        **changes,
    }
    return client.post(f"/queue/{gate.id}/edit/", sent)  # type: ignore[return-value]


def row(gate: ApprovalGate) -> dict[str, Any]:
    """The gate and its call as stored, to see that nothing moved."""
    (stored,) = ApprovalGate.objects.filter(pk=gate.pk).values()
    (call,) = ToolCall.objects.filter(run_id=gate.run_id).values()
    return {"gate": str(stored), "call": str(call), "gates": ApprovalGate.objects.count()}


@pytest.fixture
def rita(bench: Bench, client_of: Clients) -> Client:
    return client_of(bench.cast.rita)


def asks(bench: Bench, line: str = WRITE) -> tuple[Run, ApprovalGate]:
    run = bench.go(line)
    assert run.state == RunState.WAITING
    return run, bench.gate(run)


def test_an_edited_call_is_approved_as_shown_and_runs_once_and_the_model_is_told(bench: Bench, rita: Client) -> None:
    run, old = asks(bench)
    answer = post(rita, old, GOOD)
    new = bench.gate(run)
    assert (answer.status_code, answer["location"]) == (302, f"/queue/{new.id}/")

    old.refresh_from_db()
    assert (old.state, new.state, new.reopens_id, new.edited_by) == ("withdrawn", "pending", old.id, bench.cast.rita)
    assert new.digest != old.digest
    assert new.nonce != old.nonce
    change = new.presentation["change"]
    assert change["edit"] == {"by": "Rita Example"}
    assert "A clearer text" in change["differences"][0]["text"]
    (difference,) = [each for each in change["differences"] if each["fact"] == "arguments"]
    assert difference["pointer"] == "/text"
    assert difference["before"]["segments"] == [{"kind": "text", "text": "All is well."}]
    assert difference["after"]["segments"] == [{"kind": "text", "text": "All is very well."}]
    assert bench.advance(run).state == RunState.WAITING, "an edit approves nothing"

    bench.decide(new)
    run = bench.advance(run)
    assert run.state == RunState.SUCCEEDED
    assert (bench.folder / "summary.txt").read_text() == "All is very well."
    (call,) = bench.calls(run)
    assert (call.state, call.attempts, call.edited_by) == (CallState.SUCCEEDED, 1, bench.cast.rita)
    assert unseal(call.arguments_sealed)["text"] == "All is very well."
    assert call.proposed_sealed is not None
    assert unseal(call.proposed_sealed)["text"] == "All is well."

    messages = messages_of(run)
    (said,) = [each for each in messages if isinstance(each, AssistantMessage) and each.calls]
    (told,) = [each for each in messages if isinstance(each, ToolMessage)]
    assert "All is well." in said.calls[0].arguments
    assert "A reviewer edited the arguments" in told.text
    assert "All is very well." in told.text
    assert '"bytes_written": 17' in told.text


def test_an_edit_is_in_the_trace_the_ledger_and_on_the_old_page(bench: Bench, rita: Client) -> None:
    run, old = asks(bench)
    post(rita, old, GOOD)
    new = bench.gate(run)
    events = TraceEvent.objects.filter(trace_id=run.id).order_by("number")
    kinds = [(event.kind, event.gate_id, event.actor) for event in events][-3:]
    assert kinds == [("gate.closed", old.id, "rita"), ("gate.opened", new.id, "rita"), ("note", new.id, "rita")]
    entry = LedgerEntry.objects.filter(kind="decision").latest("number")
    facts = json.loads(entry.facts)
    assert (entry.actor, facts["kind"], facts["edited_as"]) == ("rita", "edit", str(new.id))
    assert (facts["digest"], facts["new_digest"]) == (old.digest, new.digest)
    page = rita.get(f"/queue/{old.id}/").content.decode()
    assert "Rita Example edited the arguments" in page
    assert f'href="/queue/{new.id}/"' in page
    assert "What Rita Example changed" in rita.get(f"/queue/{new.id}/").content.decode()
    assert "Rita Example edited the arguments" in rita.get(f"/runs/{run.id}/").content.decode()


def test_the_editor_shows_what_can_be_edited(bench: Bench, rita: Client) -> None:
    _, gate = asks(bench)
    page = rita.get(f"/queue/{gate.id}/").content.decode()
    assert f'href="/queue/{gate.id}/edit/"' in page
    form = rita.get(f"/queue/{gate.id}/edit/").content.decode()
    assert 'name="argument-text"' in form
    assert "All is well." in form
    assert gate.view_digest in form


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": ""}, "at least 1 character"),
        ({"overwrite": "perhaps"}, "not valid JSON"),
        ({"overwrite": '"x"'}, "valid boolean"),
        ({"overwrite": "NaN"}, "not valid JSON"),
        ({"text": "All is well."}, "Nothing was changed"),
        ({"extra": "1"}, "no argument"),
        ({"text": "x" * 1_000_001}, "at most 1000000 characters"),
        ({"overwrite": "[" * 5_000}, "not valid JSON"),
        ({"text": "a ⟦masked 1: email⟧"}, "not a masked value"),
    ],
)
def test_an_edit_that_the_tool_does_not_take_moves_nothing(
    bench: Bench, rita: Client, changes: dict[str, str], message: str
) -> None:
    _, gate = asks(bench)
    before = row(gate)
    answer = post(rita, gate, {**GOOD, **changes})
    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert row(gate) == before


def test_policy_is_asked_about_the_edit(bench: Bench, rita: Client) -> None:
    under = [{"pointer": "/path", "kind": "path_under", "value": "reports"}]
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ASK, constraints=under)
    _, gate = asks(bench, 'write_file {"path": "reports/a.txt", "text": "a"}')
    before = row(gate)
    answer = post(rita, gate, {"path": "elsewhere/a.txt", "text": "a", "overwrite": "false"})
    assert answer.status_code == 422
    assert "Policy does not allow the edited call" in answer.content.decode()
    assert row(gate) == before


def test_an_edit_that_policy_would_let_pass_is_asked_about_all_the_same(bench: Bench, rita: Client) -> None:
    under = [{"pointer": "/path", "kind": "path_under", "value": "reports"}]
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ALLOW, constraints=under, approvals_needed=2)
    run, gate = asks(bench, 'write_file {"path": "elsewhere/a.txt", "text": "a"}')
    assert post(rita, gate, {"path": "reports/a.txt", "text": "a", "overwrite": "false"}).status_code == 302
    new = bench.gate(run)
    assert (new.state, new.approvals_needed, new.four_eyes) == ("pending", 2, True)
    assert bench.advance(run).state == RunState.WAITING
    assert not (bench.folder / "reports").exists()


@pytest.mark.parametrize("column", ["digest", "view_digest"])
def test_an_edit_of_another_view_is_refused(bench: Bench, rita: Client, column: str) -> None:
    _, gate = asks(bench)
    before = row(gate)
    answer = post(rita, gate, GOOD, **{column: "0" * 64})
    assert answer.status_code == 409
    assert "does not show the call as it stands now" in answer.content.decode()
    assert row(gate) == before


@pytest.mark.parametrize(
    ("name", "status"), [("carol", 404), ("ravi", 404), ("oscar", 404), ("alice", 403), ("audra", 403)]
)
def test_who_may_not_decide_may_not_edit(bench: Bench, client_of: Clients, name: str, status: int) -> None:
    _, gate = asks(bench)
    before = row(gate)
    client = client_of(getattr(bench.cast, name))
    assert post(client, gate, GOOD).status_code == status
    assert client.get(f"/queue/{gate.id}/edit/").status_code == status
    assert row(gate) == before


def test_nobody_edits_a_call_of_their_own_run(bench: Bench, client_of: Clients) -> None:
    submitter = bench.cast.adam
    run = bench.advance(bench.submit(WRITE, user=submitter))
    gate = bench.gate(run)
    answer = post(client_of(submitter), gate, GOOD)
    assert answer.status_code == 403
    assert "You submitted this run" in answer.content.decode()


def test_a_role_taken_away_a_second_ago_counts(bench: Bench, rita: Client) -> None:
    _, gate = asks(bench)
    bench.cast.rita.memberships.all().delete()
    assert post(rita, gate, GOOD).status_code == 404
    assert ApprovalGate.objects.get(pk=gate.pk).state == "pending"


def test_the_same_form_twice_is_one_edit_and_another_under_its_key_is_refused(bench: Bench, rita: Client) -> None:
    _, gate = asks(bench)
    key = uuid.uuid4().hex
    first = post(rita, gate, GOOD, idempotency_key=key)
    again = post(rita, gate, GOOD, idempotency_key=key)
    assert first["location"] == again["location"]
    other = post(rita, gate, {**GOOD, "text": "other"}, idempotency_key=key)
    assert other.status_code == 409
    assert ApprovalGate.objects.count() == 2


def test_the_old_gate_can_be_neither_approved_nor_edited_and_says_by_whom(bench: Bench, rita: Client) -> None:
    _, gate = asks(bench)
    post(rita, gate, GOOD)
    with pytest.raises(AlreadyDecided, match=r"already edited .* by Rita Example"):
        bench.decide(gate, user=bench.cast.rolf)
    late = post(rita, gate, {**GOOD, "text": "again"})
    assert late.status_code == 409
    assert "by Rita Example" in late.content.decode()
    assert ApprovalGate.objects.count() == 2


def test_an_approval_of_the_old_call_does_not_count_for_the_new_one(bench: Bench, client_of: Clients) -> None:
    allow(bench.cast.acme.pk, "write_file", AllowanceMode.ASK, approvals_needed=2)
    run, gate = asks(bench)
    bench.decide(gate, user=bench.cast.rita)
    gate.refresh_from_db()
    assert post(client_of(bench.cast.rolf), gate, GOOD).status_code == 302
    new = bench.gate(run)
    bench.decide(new, user=bench.cast.rolf)
    assert bench.gate(run).state == GateState.PENDING, "one of two approvals: rita's was of another call"
    copied = Decision.objects.get(gate=gate)
    Decision.objects.create(**{**values_of(copied), "gate": new})
    ApprovalGate.objects.filter(pk=new.pk).update(
        state="approved", decided_at=new.opened_at, hold_until=new.opened_at, execute_by=new.decide_by
    )
    bench.advance(run)
    assert not (bench.folder / "summary.txt").exists()


def values_of(decision: Decision) -> dict[str, Any]:
    """A decision's columns, for a copy of it under another key."""
    kept = (
        "kind",
        "decided_by",
        "decided_at",
        "role",
        "digest",
        "view_digest",
        "redactor_version",
        "nonce",
        "signature",
    )
    return {name: getattr(decision, name) for name in kept} | {"idempotency_key": "copied", "ballot_fingerprint": "0"}


def test_an_approval_inside_its_hold_is_undone_before_it_is_edited(bench: Bench, rita: Client) -> None:
    TenantPolicy.objects.update(approval_hold_seconds=60)
    run, gate = asks(bench)
    bench.decide(gate)
    assert rita.get(f"/queue/{gate.id}/edit/").status_code == 409
    assert post(rita, gate, GOOD).status_code == 409
    assert bench.fresh(run).state == RunState.WAITING
    with transaction.atomic():
        gates.undo(gate.id, bench.cast.rita, now=database_now())
    gate.refresh_from_db()
    assert post(rita, gate, GOOD).status_code == 302
    assert bench.gate(run).edited_by == bench.cast.rita


def draft_of(bench: Bench, gate: ApprovalGate) -> editing.Revision:
    amendment = editing.amendment_of(
        gate,
        {"digest": gate.digest, "view_digest": gate.view_digest, "idempotency_key": uuid.uuid4().hex, "reason": ""},
        GOOD,
    )
    return editing.revise(editing.open_draft(gate), bench.cast.rita, amendment, GOOD, now=database_now())


def test_an_approval_that_comes_while_the_edit_is_checked_wins(bench: Bench) -> None:
    run, gate = asks(bench)
    revision = draft_of(bench, gate)
    bench.decide(gate, user=bench.cast.rolf)
    with pytest.raises(AlreadyDecided, match=r"approved .* by Rolf Example"), transaction.atomic():
        editing.replace(revision, now=database_now())
    assert bench.advance(run).state == RunState.SUCCEEDED
    assert (bench.folder / "summary.txt").read_text() == "All is well."
    assert ApprovalGate.objects.count() == 1


def test_a_stale_revision_is_refused_in_the_transaction(bench: Bench) -> None:
    _, gate = asks(bench)
    revision = draft_of(bench, gate)
    forged = replace(revision, amendment=replace(revision.amendment, digest="0" * 64))
    with pytest.raises(StaleView), transaction.atomic():
        editing.replace(forged, now=database_now())


def test_a_cancelled_run_is_not_edited(bench: Bench, rita: Client) -> None:
    run, gate = asks(bench)
    revision = draft_of(bench, gate)
    bench.cancel(run)
    with pytest.raises(AlreadyDecided), transaction.atomic():
        editing.replace(revision, now=database_now())
    assert post(rita, gate, GOOD).status_code == 409
    assert ApprovalGate.objects.count() == 1


# Masked values.

SEND = (
    'http_request {"url": "https://api.example.com/v1", "method": "POST", '
    '"headers": {"Authorization": "%s", "X": "1"}, "body": "mail %s now"}'
)


@pytest.fixture
def secret(inventive: dict[str, str]) -> str:
    """A header that the model writes where a prompt says "the key"."""
    inventive["the key"] = "Bearer " + secrets.token_urlsafe(30)
    return inventive["the key"]


@pytest.fixture
def sending(bench: Bench, secret: str) -> tuple[Run, ApprovalGate, dict[str, str]]:
    """A request with a masked header and a masked address, and the editor's fields for it."""
    assert secret
    run, gate = asks(bench, SEND % ("the key", "anna.schmidt@example.org"))
    return run, gate, {field.name: field.text for field in editing.open_draft(gate).fields()}


def test_raw_values_never_reach_the_browser_and_placeholders_that_stay_are_put_back(
    bench: Bench, rita: Client, secret: str, sending: tuple[Run, ApprovalGate, dict[str, str]]
) -> None:
    run, gate, fields = sending
    form = rita.get(f"/queue/{gate.id}/edit/").content.decode()
    assert secret not in form
    assert "anna.schmidt" not in form
    assert "⟦masked 1: email⟧" in form
    assert post(rita, gate, {**fields, "body": "Please m" + fields["body"][1:]}).status_code == 302
    new = bench.gate(run)
    arguments = unseal(bench.calls(run)[0].arguments_sealed)
    assert arguments["headers"]["Authorization"] == secret
    assert arguments["body"] == "Please mail anna.schmidt@example.org now"
    stored = f"{new.presentation}{bench.calls(run)[0].arguments_redacted}{list(TraceEvent.objects.values())}"
    assert secret not in stored
    assert "anna.schmidt" not in stored
    assert secret not in rita.get(f"/queue/{new.id}/").content.decode()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("body", "⟦1⟧ {key}"),
        ("headers", '{{"Authorization": "⟦2⟧", "X": "{key}"}}'),
        ("url", "https://api.example.com/v1?key={key}"),
    ],
)
def test_a_key_that_is_typed_into_an_argument_is_refused_at_it_and_taken_out_of_the_form(
    rita: Client, sending: tuple[Run, ApprovalGate, dict[str, str]], name: str, text: str
) -> None:
    _, gate, fields = sending
    before, key = row(gate), f"ghp_{secrets.token_hex(18)}"
    masks = list(editing.open_draft(gate).masked.masks)
    sent = text.format(key=key).replace("⟦1⟧", masks[0]).replace("⟦2⟧", masks[1])
    answer = post(rita, gate, {**fields, name: sent})
    page = unescape(answer.content.decode())
    assert answer.status_code == 422
    assert re.search(r'id="edit-error-\d" role="alert">The argument holds what looks like .*(GitHub|password)', page)
    assert key not in page
    assert sent.split(key)[0] in page, "the rest of what was typed is still there, placeholders too"
    assert row(gate) == before


def test_a_masked_value_can_be_taken_out_or_replaced(
    bench: Bench, rita: Client, sending: tuple[Run, ApprovalGate, dict[str, str]]
) -> None:
    run, gate, fields = sending
    assert post(rita, gate, {**fields, "body": "nobody", "headers": '{"X": "2"}'}).status_code == 302
    arguments = unseal(bench.calls(run)[0].arguments_sealed)
    assert (arguments["body"], arguments["headers"]) == ("nobody", {"X": "2"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("url", "https://api.example.com/⟦1⟧", "be moved"),
        ("url", "https://evil.example.net/v1", "another scheme, host or port"),
        ("url", "http://api.example.com/v1", "another scheme, host or port"),
        ("url", "https://api.example.com:8443/v1", "another scheme, host or port"),
        ("body", "⟦1⟧ and ⟦1⟧", "is there twice"),
        ("body", "⟦masked 9: email⟧", "not a masked value of this call"),
        ("body", "⟦masked 1: phone⟧", "not a masked value of this call"),
        ("body", "⟦masked 1: emai", "placeholder is damaged"),
        ("body", "⟦2⟧", "be moved"),
        ("headers", '{"X": "⟦2⟧"}', "be moved"),
        ("headers", '{"⟦2⟧": "1"}', "part of a name"),
        ("headers", '{"X": "\\ud800"}', "canonical JSON"),
        ("headers", '{"X": "1", "X": "2"}', "not valid JSON"),
        ("headers", '{"Authorization": "x ⟦2⟧"}', ""),
    ],
)
def test_a_placeholder_that_is_moved_forged_or_doubled_is_refused(
    rita: Client,
    secret: str,
    sending: tuple[Run, ApprovalGate, dict[str, str]],
    *,
    name: str,
    text: str,
    message: str,
) -> None:
    _, gate, fields = sending
    masks = list(editing.open_draft(gate).masked.masks)
    assert len(masks) == 2
    before = row(gate)
    sent = text.replace("⟦1⟧", masks[0]).replace("⟦2⟧", masks[1])
    answer = post(rita, gate, {**fields, name: sent})
    if not message:
        # The redactor still masks the whole header, so this is an ordinary edit.
        assert answer.status_code == 302
        assert secret not in str(ApprovalGate.objects.get(reopens=gate).presentation)
        return
    assert answer.status_code == 422
    assert message in answer.content.decode()
    assert secret not in answer.content.decode()
    assert "anna.schmidt" not in answer.content.decode()
    assert row(gate) == before


def test_what_is_around_a_secret_cannot_be_changed_so_that_it_would_be_shown(
    bench: Bench, rita: Client, inventive: dict[str, str]
) -> None:
    word = inventive["the word"] = "hunter" + secrets.token_hex(2)
    _, gate = asks(bench, 'write_file {"path": "a.txt", "text": "password: the word"}')
    draft = editing.open_draft(gate)
    (placeholder,) = draft.masked.masks
    assert word not in str(draft.masked.values)
    answer = post(rita, gate, {"path": "a.txt", "text": f"hello {placeholder}", "overwrite": "false"})
    assert answer.status_code == 422
    assert "its value would be shown" in answer.content.decode()
    assert word not in answer.content.decode()
    assert ApprovalGate.objects.count() == 1


def test_line_breaks_survive_the_browser(bench: Bench, rita: Client) -> None:
    text = "\n" + "".join(f"line {number}\n" for number in range(30))
    run, gate = asks(bench, "write_file " + json.dumps({"path": "a.txt", "text": text}))
    sent = text.replace("line 7\n", "line seven\n").replace("\n", "\r\n")
    form = rita.get(f"/queue/{gate.id}/edit/").content.decode()
    assert ">\n\nline 0\n" in form, "the parser drops one line break after the tag"
    assert post(rita, gate, {"path": "a.txt", "text": sent, "overwrite": "false"}).status_code == 302
    assert unseal(bench.calls(run)[0].arguments_sealed)["text"] == text.replace("line 7\n", "line seven\n")
    (difference,) = [each for each in bench.gate(run).presentation["change"]["differences"] if each["pointer"]]
    assert [line["op"] for line in difference["lines"]].count("+") == 1


def test_what_would_not_show_stands_as_its_code_in_the_editor_and_comes_back_as_itself(
    bench: Bench, rita: Client
) -> None:
    text = "pay \u202e001\u202c to \u27e6 anna@example.com\u200b\r now"
    run, gate = asks(bench, f"write_file {json.dumps({'path': 'summary.txt', 'text': text})}")
    page = rita.get(f"/queue/{gate.id}/edit/").content.decode()
    shown = "pay ⟦U+202E⟧001⟦U+202C⟧ to ⟦U+27E6⟧ ⟦masked 1: email⟧⟦U+200B⟧⟦U+000D⟧ now"
    assert shown in page
    assert "\u202e" not in page
    assert post(rita, gate, {**GOOD, "text": shown.replace("001", "002⟦U+D800⟧⟦U+110000⟧")}).status_code == 302
    edited = bench.gate(run)
    assert unseal(edited.arguments_sealed)["text"] == text.replace("001", "002⟦U+D800⟧⟦U+110000⟧")


def test_an_escape_is_no_way_to_paste_a_secret_or_forge_a_placeholder(bench: Bench, rita: Client) -> None:
    _, gate = asks(bench, 'write_file {"path": "summary.txt", "text": "for anna@example.com"}')
    before = row(gate)
    secret = f"ghp_{secrets.token_hex(18)}"
    hidden = secret.replace("_", "⟦U+005F⟧")
    for text, words in ((f"use {hidden}", "secret|key|token"), ("⟦U+27E6⟧masked 9: email⟧", "not a masked value")):
        answer = post(rita, gate, {**GOOD, "text": text})
        assert answer.status_code == 422
        assert re.search(words, answer.content.decode())
        assert secret not in answer.content.decode()
    assert row(gate) == before
