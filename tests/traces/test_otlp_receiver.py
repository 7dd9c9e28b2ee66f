"""Our spans in a receiver that others wrote (sonar-tui), over both encodings: accepted, and shown as the same tree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from django.core.management import call_command
from django.db import transaction
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fixtures.cast import Cast
from tests.fixtures.polling import eventually
from tests.fixtures.services import free_port
from traces import export, recorder
from traces.kinds import EventKind


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    """The address of a running receiver."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "sonar.ingestion.server:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _answers(port), within=60, what="the OTLP receiver")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/traces", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def run(transactional_db: None, cast: Cast, now: datetime) -> UUID:  # noqa: ARG001 - the command opens transactions of its own
    """A run with two model calls, a wait for rita, and a tool call that failed."""
    run, gate = uuid4(), uuid4()
    events: list[tuple[EventKind, int, dict[str, Any], dict[str, Any]]] = [
        (EventKind.RUN_STARTED, 1, {}, {}),
        (EventKind.MODEL_REQUEST, 1, {"model": "scripted"}, {}),
        (EventKind.MODEL_RESPONSE, 3, {"input_tokens": 7, "output_tokens": 2, "finish_reason": "tool_calls"}, {}),
        (EventKind.GATE_OPENED, 3, {"tool": "write_file"}, {"call_id": "c", "gate_id": gate}),
        (EventKind.GATE_DECIDED, 60, {"tool": "write_file", "state": "approved"}, {"gate_id": gate, "actor": "rita"}),
        (EventKind.PERMIT_ISSUED, 61, {}, {"call_id": "c", "gate_id": gate}),
        (EventKind.TOOL_STARTED, 61, {"tool": "write_file"}, {"call_id": "c"}),
        (EventKind.TOOL_FINISHED, 62, {"tool": "write_file", "state": "failed", "outcome": "error"}, {"call_id": "c"}),
        (EventKind.MODEL_REQUEST, 62, {"model": "scripted"}, {}),
        (EventKind.MODEL_RESPONSE, 63, {"input_tokens": 20, "output_tokens": 5, "finish_reason": "stop"}, {}),
        (EventKind.RUN_FINISHED, 63, {"state": "succeeded"}, {}),
    ]
    with transaction.atomic():
        recorder.open_trace(
            tenant_id=cast.acme.pk, run_id=run, agent_name="Files", submitter_id=cast.alice.pk, prompt="Go", now=now
        )
        for kind, second, payload, about in events:
            recorder.record(run_id=run, kind=kind, payload=payload, now=now + timedelta(seconds=second), **about)
        recorder.note_summary(run_id=run, state="succeeded", finished_at=now + timedelta(seconds=63))
    return run


def sent(receiver: str, run: UUID, encoding: str) -> dict[str, Any]:
    """The run's only tree, as the receiver built it from what the command sent."""
    call_command("export_trace", str(run), to=f"{receiver}/v1/traces", encoding=encoding, stdout=StringIO())
    found = httpx.get(f"{receiver}/traces/{run.hex}", timeout=10)
    assert found.status_code == 200, found.text
    (root,) = found.json()["tree"]
    return root  # type: ignore[no-any-return]


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_anothers_receiver_shows_our_run_as_a_tree(receiver: str, run: UUID, encoding: str) -> None:
    root = sent(receiver, run, encoding)
    assert root["span"]["name"] == "invoke_agent Files"
    assert root["span"]["service_name"] == "routekit-site"
    assert root["span"]["attributes"]["gen_ai.operation.name"] == "invoke_agent"
    assert root["span"]["duration_ms"] == 63_000
    children = [
        (child["span"]["name"], child["span"]["status"], child["span"]["duration_ms"]) for child in root["children"]
    ]
    assert children == [
        ("queued in the queue", "OK", 1000),
        ("chat", "OK", 2000),
        ("approval write_file", "OK", 57_000),
        ("hold write_file", "OK", 1000),
        ("execute_tool write_file", "ERROR", 1000),
        ("chat", "OK", 1000),
    ]
    chat = root["children"][1]["span"]["attributes"]
    assert (chat["gen_ai.usage.input_tokens"], chat["gen_ai.request.model"]) == (7, "scripted")


def test_both_encodings_say_the_same(run: UUID) -> None:
    content = export.of_run(run, export.Format.OTLP).content
    message = ExportTraceServiceRequest.FromString(export.as_protobuf(content))
    spans = message.resource_spans[0].scope_spans[0].spans
    assert {span.trace_id for span in spans} == {run.bytes}
    root = next(span for span in spans if not span.parent_span_id)
    assert all(span.parent_span_id == root.span_id for span in spans if span is not root)
    assert len({span.span_id for span in spans}) == len(spans)
    assert len(root.events) == 12
    assert MessageToDict(root.attributes[0])["key"] == "gen_ai.operation.name"
