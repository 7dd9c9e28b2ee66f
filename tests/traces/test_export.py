"""Taking a trace out: redacted again, people pseudonymised, reviewed, signed, noted; OTLP as the standard says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client

from routekit_site.tenancy.models import Membership, User
from tests.fixtures.cast import Cast
from traces import export, ledger, recorder
from traces.errors import BadLink
from traces.kinds import EventKind, LedgerKind
from traces.models import LedgerEntry, RedactionPolicy, Trace

ClientOf = Callable[[User], Client]


@pytest.fixture
def run(cast: Cast, now: datetime) -> UUID:
    """A finished run with a model call, a tool call and rita's decision."""
    with transaction.atomic():
        return _recorded(cast, now)


def _recorded(cast: Cast, now: datetime) -> UUID:
    run_id = uuid4()
    recorder.open_trace(
        tenant_id=cast.acme.pk,
        run_id=run_id,
        agent_name="Files",
        submitter_id=cast.alice.pk,
        prompt="Case ZX-1234",
        now=now,
    )
    told: list[tuple[EventKind, dict[str, Any]]] = [
        (EventKind.MODEL_REQUEST, {"model": "small"}),
        (EventKind.MODEL_RESPONSE, {"input_tokens": 7, "output_tokens": 3, "finish_reason": "tool_calls"}),
        (EventKind.GATE_OPENED, {"tool": "write_file", "state": "pending"}),
        (EventKind.GATE_DECIDED, {"tool": "write_file", "state": "approved", "kind": "approve"}),
        (EventKind.TOOL_STARTED, {"tool": "write_file"}),
        (EventKind.TOOL_FINISHED, {"tool": "write_file", "state": "failed"}),
        (EventKind.RUN_FINISHED, {"state": "succeeded"}),
    ]
    gate = uuid4()
    for second, (kind, payload) in enumerate(told, 1):
        about = {"call_id": "c1"} if "tool" in payload else {}
        recorder.record(
            run_id=run_id,
            kind=kind,
            payload=payload,
            now=now + timedelta(seconds=second),
            gate_id=gate if kind.startswith("gate") else None,
            actor="rita" if kind == EventKind.GATE_DECIDED else "",
            **about,
        )
    recorder.note_summary(run_id=run_id, state="succeeded", finished_at=now + timedelta(seconds=7))
    return run_id


def test_people_are_pseudonyms_the_same_in_one_tenant_and_others_in_another(cast: Cast, run: UUID) -> None:
    text = export.of_run(run, export.Format.JSONL).content.decode()
    head, *events = map(json.loads, text.splitlines())
    assert "rita" not in text
    assert "alice" not in text
    assert head["submitter"] == export.pseudonym(cast.acme.pk, "alice") != export.pseudonym(cast.globex.pk, "alice")
    assert [event["number"] for event in events] == list(range(1, 9))


def test_todays_rules_are_applied_to_yesterdays_trace(cast: Cast, run: UUID) -> None:
    assert b"ZX-1234" in export.of_run(run, export.Format.JSONL).content
    RedactionPolicy.objects.create(
        tenant=cast.acme, version=8001, hook={"mode": "typed", "redact_patterns": [[r"ZX-\d+", "[CASE]"]]}
    )
    assert b"ZX-1234" not in export.of_run(run, export.Format.JSONL).content


@pytest.mark.parametrize("form", list(export.Format))
def test_an_agents_name_is_redacted_like_the_events(run: UUID, form: export.Format) -> None:
    Trace.objects.filter(pk=run).update(agent_name="Post of anna.person@example.org")
    found = export.of_run(run, form)
    assert b"anna.person" not in found.content
    assert b"Post of [EMAIL]" in found.content
    assert found.findings == {}


def test_a_second_look_finds_what_the_tenant_lets_through(cast: Cast, run: UUID, now: datetime) -> None:
    assert export.of_run(run, export.Format.JSONL).findings == {}
    recorder.record(run_id=run, kind=EventKind.NOTE, payload={"from": "203.0.113.77 said hello"}, now=now)
    assert export.of_run(run, export.Format.JSONL).findings == {"IP": 1}
    assert cast.acme.pk


def test_otlp_is_a_tree_with_the_conventions_names(run: UUID) -> None:
    body = json.loads(export.of_run(run, export.Format.OTLP).content)
    spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"]
    root = next(span for span in spans if "parentSpanId" not in span)
    assert all(span["traceId"] == run.hex for span in spans)
    assert all(span["parentSpanId"] == root["spanId"] for span in spans if span is not root)
    assert len({span["spanId"] for span in spans}) == len(spans)
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in spans)
    assert {span["name"] for span in spans} >= {"invoke_agent Files", "chat", "execute_tool write_file"}
    chat = next(span for span in spans if span["name"] == "chat")
    assert {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}} in chat["attributes"]
    tool = next(span for span in spans if span["name"].startswith("execute_tool"))
    assert tool["status"] == {"code": 2}
    assert len(root["events"]) == 8


def test_a_link_is_reviewed_noted_and_opened_without_signing_in(cast: Cast, run: UUID, client_of: ClientOf) -> None:
    client, page = client_of(cast.adam), f"/admin/traces/trace/{run}/export/"
    reviewed = client.get(page).context["export"]
    answer = client.post(page, {"link": "1", "sha256": reviewed.digest, "format": "jsonl"})
    link = answer.context["link"]
    entry = LedgerEntry.objects.get(kind=LedgerKind.EXPORT)
    assert ledger.facts_of(entry)["sha256"] == reviewed.digest
    opened = Client().get(link.removeprefix("http://testserver"))
    assert (opened.status_code, opened.content) == (200, reviewed.content)
    assert "attachment" in opened.headers["Content-Disposition"]
    tampered = link.removeprefix("http://testserver").rstrip("/")[:-3] + "abc/"
    assert Client().get(tampered).status_code == 404
    assert client.post(page, {"download": "1", "sha256": "old", "format": "jsonl"}).context["export"] == reviewed
    assert LedgerEntry.objects.filter(kind=LedgerKind.EXPORT).count() == 1


def test_a_link_ends_with_time_with_the_right_and_with_any_change(cast: Cast, run: UUID, now: datetime) -> None:
    def token() -> str:
        return export.token(export.of_run(run, export.Format.OTLP), cast.adam, now)

    assert export.opened(token(), now).run_id == run
    with pytest.raises(BadLink):
        export.opened(token(), now + export.LINK_LIFE + timedelta(seconds=1))
    before = token()
    Membership.objects.filter(user=cast.adam).update(role="reviewer")
    with pytest.raises(BadLink):
        export.opened(before, now)
    Membership.objects.filter(user=cast.adam).update(role="admin")
    recorder.record(run_id=run, kind=EventKind.NOTE, payload={}, now=now)
    with pytest.raises(BadLink):
        export.opened(before, now)
    after = token()
    Trace.objects.get(pk=run).events.all().delete()
    Trace.objects.filter(pk=run).delete()
    with pytest.raises(BadLink):
        export.opened(after, now)


def test_only_those_who_may_export_do(cast: Cast, run: UUID, client_of: ClientOf) -> None:
    page = f"/admin/traces/trace/{run}/export/"
    answers = [client_of(person).get(page).status_code for person in (cast.audra, cast.rita, cast.alice, cast.ada)]
    assert answers[0] == 403
    assert all(code in {302, 403, 404} for code in answers)
    assert client_of(cast.ada).get(page).status_code == 404


class _Collector(BaseHTTPRequestHandler):
    """Takes what is posted to it."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        if self.path == "/guarded" and self.headers["X-Key"] != "a secret":
            self.send_response(401)
            self.end_headers()
            return
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200 if self.path in {"/v1/traces", "/guarded"} else 400)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An HTTP endpoint and what it was sent."""
    bodies: list[bytes] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Collector,), {"bodies": bodies}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join(30)
    server.server_close()


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_asks_for_a_key_gets_it(run: UUID, collector: tuple[str, list[bytes]]) -> None:
    endpoint, bodies = collector
    with pytest.raises(CommandError, match="401"):
        call_command("export_trace", str(run), to=f"{endpoint}/guarded", stdout=StringIO())
    call_command("export_trace", str(run), "--header", "x-key=a secret", to=f"{endpoint}/guarded", stdout=StringIO())
    assert len(bodies) == 1
    for nonsense in ("x-key", "=x", "x y=z", "x=a\nb"):
        with pytest.raises(CommandError, match="name=value"):
            call_command("export_trace", str(run), "--header", nonsense, to=endpoint)


@pytest.mark.django_db(transaction=True)
def test_the_command_writes_and_sends(run: UUID, collector: tuple[str, list[bytes]]) -> None:
    endpoint, bodies = collector
    out = StringIO()
    call_command("export_trace", str(run), stdout=out)
    assert json.loads(out.getvalue().splitlines()[0])["run"] == str(run)
    call_command("export_trace", str(run), to=f"{endpoint}/v1/traces", encoding="json", stdout=StringIO())
    assert json.loads(bodies[0])["resourceSpans"]
    with pytest.raises(CommandError, match="did not take the trace"):
        call_command("export_trace", str(run), to=f"{endpoint}/elsewhere")
    with pytest.raises(CommandError, match="no trace"):
        call_command("export_trace", str(uuid4()))
    assert LedgerEntry.objects.filter(kind=LedgerKind.EXPORT).count() == 3
