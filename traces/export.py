"""Taking a trace out of the house: redacted again under today's rules, people pseudonymised, reviewed, then shared.

What a link gives is made anew when it is opened and must be, byte for byte, what was reviewed; else it gives nothing.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
from django.core import signing
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from routekit_site.tenancy.access import can_capability
from routekit_site.tenancy.encryption import fingerprint
from routekit_site.tenancy.models import User
from routekit_site.tenancy.roles import Capability
from traces import ledger
from traces.errors import BadLink, UnknownTrace
from traces.intervals import Event
from traces.kinds import LedgerKind
from traces.models import Trace, TraceEvent
from traces.otel import RunFacts, otlp
from traces.redaction import PIIRedactionHook
from traces.redactors import redact
from traces.timeline import event_of

LINK_LIFE = timedelta(days=7)
_SALT = "traces.export"
_ID_FIELDS = ("traceId", "spanId", "parentSpanId")
# Everything that redaction knows, whatever the tenant has switched off.
_ALL_EYES = PIIRedactionHook(mode="typed", redact_ips=True)


class Format(StrEnum):
    """How a trace is written."""

    JSONL = "jsonl"
    OTLP = "otlp"


@dataclass(frozen=True)
class Export:
    """A trace ready to be shared, and what a second look still found in it: kind of value -> how often."""

    run_id: UUID
    tenant_id: int
    format: Format
    content: bytes
    findings: Mapping[str, int]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, hex."""
        return hashlib.sha256(self.content).hexdigest()


def pseudonym(tenant_id: int, name: str) -> str:
    """A name that stands for a person in one tenant's exports, always the same one."""
    return f"person-{fingerprint(tenant_id, name.encode())[:8]}" if name else ""


def _shared(trace: Trace, event: Event) -> Event:
    """An event as it leaves the house."""
    payload = redact(trace.tenant_id, dict(event.payload))
    return replace(
        event,
        actor=pseudonym(trace.tenant_id, event.actor),
        payload=payload if isinstance(payload, dict) else {"payload": payload},
    )


def _line(event: Event) -> dict[str, Any]:
    return {
        "number": event.number,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "call": event.call_id,
        "gate": event.gate_id,
        "actor": event.actor,
        "payload": event.payload,
    }


def _jsonl(trace: Trace, agent: str, events: list[Event]) -> bytes:
    head = {
        "run": str(trace.pk),
        "agent": agent,
        "state": trace.state,
        "submitter": pseudonym(trace.tenant_id, trace.submitter.get_username()),
        "started_at": trace.started_at.isoformat(),
        "finished_at": trace.finished_at.isoformat() if trace.finished_at else None,
        "input_tokens": trace.input_tokens,
        "output_tokens": trace.output_tokens,
        "cost_microdollars": trace.cost_microdollars,
    }
    return b"".join(orjson.dumps(line) + b"\n" for line in (head, *map(_line, events)))


def prepare(trace: Trace, form: Format) -> Export:
    """A trace as it may be shared now. The same trace under the same rules gives the same bytes."""
    rows = TraceEvent.objects.filter(trace=trace).order_by("number").iterator(chunk_size=500)
    events = [_shared(trace, event_of(row)) for row in rows]
    agent = str(redact(trace.tenant_id, trace.agent_name))
    if form is Format.JSONL:
        content = _jsonl(trace, agent, events)
    else:
        last = events[-1].at if events else trace.started_at
        content = orjson.dumps(otlp(RunFacts(trace.pk, agent, trace.state), events, last))
    found = Counter(str(span.label) for span in _ALL_EYES.compile().spans(content.decode()))
    return Export(trace.pk, trace.tenant_id, form, content, dict(found))


def as_protobuf(content: bytes) -> bytes:
    """An OTLP export as protobuf (`ExportTraceServiceRequest`), the encoding that every OTLP/HTTP endpoint takes."""
    body = orjson.loads(content)
    for resource in body["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                # OTLP writes ids as hex in JSON, where protobuf's own JSON mapping reads base64.
                ids = {key: b64encode(bytes.fromhex(span[key])).decode() for key in _ID_FIELDS if key in span}
                span.update(ids)
    message: bytes = ParseDict(body, ExportTraceServiceRequest()).SerializeToString()
    return message


def note(export: Export, actor: str, now: datetime, how: str) -> None:
    """Write an export into the tenant's ledger; without that entry nothing leaves."""
    facts = {"run": str(export.run_id), "format": export.format.value, "how": how, "sha256": export.digest}
    ledger.append(tenant_id=export.tenant_id, kind=LedgerKind.EXPORT, actor=actor, facts=facts, now=now)


def token(export: Export, person: User, now: datetime) -> str:
    """What a link carries, signed: which trace, as reviewed by whom, until when."""
    body = {
        "run": str(export.run_id),
        "format": export.format.value,
        "sha256": export.digest,
        "person": person.pk,
        "until": (now + LINK_LIFE).timestamp(),
    }
    return signing.dumps(body, salt=_SALT)


def opened(text: str, now: datetime) -> Export:
    """The export behind a link.

    Raises:
        BadLink: tampered with, expired, of somebody who may not share any more, or of a trace that has changed or gone.
    """
    try:
        body = signing.loads(text, salt=_SALT)
    except signing.BadSignature as error:
        raise BadLink from error
    person = User.objects.filter(pk=body["person"], is_active=True).first()
    trace = Trace.objects.select_related("submitter").filter(pk=body["run"]).first()
    if now.timestamp() > body["until"] or person is None or trace is None:
        raise BadLink
    if not can_capability(person, trace.tenant_id, Capability.EXPORT_TRACES):
        raise BadLink
    export = prepare(trace, Format(body["format"]))
    if export.digest != body["sha256"]:
        raise BadLink
    return export


def of_run(run_id: UUID, form: Format) -> Export:
    """The export of a run.

    Raises:
        UnknownTrace: the run has no trace.
    """
    trace = Trace.objects.select_related("submitter").filter(pk=run_id).first()
    if trace is None:
        raise UnknownTrace
    return prepare(trace, form)
