"""The only writer of trace rows. Redacts first, numbers without gaps, appends only.

All calls belong into the transaction that makes the change they record: in a gathered block (see Note [Told at the
end]), or after its own rows and before `ledger.append` and `live.announce` (one lock order everywhere: run, gate,
trace, tenant head).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson
from django.db import connection

from routekit_site.tenancy.heartbeats import failure_sign, mark
from routekit_site.tenancy.statements import Write, execute, insertion, updating, write_all
from traces.errors import NoTransaction, UnknownTrace
from traces.gathering import keep
from traces.kinds import EventKind
from traces.models import Trace, TraceEvent
from traces.payloads import JSON, clean_text, fitted
from traces.redactors import (
    FAILED,
    POLICY_VERSION_SQL,
    Failure,
    attempt,
    combined_version,
    note_version,
    policy_version,
)
from traces.sealing import SEALED_SQL, encrypts, payload_columns, sealed_text

_MAX_NAME = 200
_MAX_LISTED = 200

_HEAD = (
    f"SELECT last_number, tenant_id, {POLICY_VERSION_SQL.format(table='traces_trace')}, "
    f"{SEALED_SQL}, tools, decisions, reviewers FROM traces_trace WHERE run_id = %s"
)
_LISTS = ("tools", "decisions", "reviewers")


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise NoTransaction


def _name(text: str) -> str:
    return clean_text(text)[:_MAX_NAME]


def _stored(tenant_id: int, version: int, payload: Mapping[str, JSON], now: datetime) -> dict[str, JSON]:
    """The payload as it is written: redacted, then cut to size. A failed redaction keeps nothing of it, and alerts."""
    redacted = attempt(tenant_id, version, dict(payload))
    if isinstance(redacted, Failure):
        mark(failure_sign(tenant_id), now, {"error": redacted.error})
        return {"payload": FAILED, "error": redacted.error}
    fields = redacted if isinstance(redacted, dict) else {"payload": redacted}
    return fitted(fields)


def open_trace(*, tenant_id: int, run_id: UUID, agent_name: str, submitter_id: int, prompt: str, now: datetime) -> None:
    """Write the head of a run's trace and its first event, `run.submitted`.

    Raises:
        NoTransaction: called outside a transaction.
        django.db.IntegrityError: the run has a trace already.
    """
    _require_transaction()
    version = policy_version(tenant_id)
    payload = _stored(tenant_id, version, {"agent": agent_name, "prompt": prompt}, now)
    shown = payload.get("prompt", "")
    sealed = encrypts(tenant_id)
    text = sealed_text(shown if isinstance(shown, str) else str(payload), sealed=sealed)
    trace = Trace(
        run_id=run_id,
        tenant_id=tenant_id,
        agent_name=_name(agent_name)[:120],
        submitter_id=submitter_id,
        state="queued",
        prompt=text.clear,
        prompt_sealed=text.sealed,
        started_at=now,
        last_number=1,
    )
    first = TraceEvent(
        trace_id=run_id,
        number=1,
        kind=EventKind.RUN_SUBMITTED,
        at=now,
        redactor_version=combined_version(version),
        **payload_columns(payload, sealed=sealed),
    )
    write_all([insertion([trace]), insertion([first])])


@dataclass
class _Head:
    """The head of one trace, its row locked, and what this transaction changes in it."""

    number: int
    tenant_id: int
    redaction: int
    sealed: bool
    met: dict[str, list[str]]
    changes: dict[str, Any] = field(default_factory=dict)

    def meet(self, column: str, value: str) -> None:
        """Add a value to one of the lists that the head keeps, unless it is there or the list is full."""
        met = self.met[column]
        if value and value not in met and len(met) < _MAX_LISTED:
            met.append(value)
            self.changes[column] = met


class Traces:
    """The part of a block that writes trace rows (see `gathering.Part`)."""

    order: ClassVar[int] = 1

    def __init__(self) -> None:
        self._heads: dict[UUID, _Head] = {}
        self._events: list[TraceEvent] = []

    def head(self, run_id: UUID) -> _Head:
        """The head of a run's trace, locked to the end of the transaction. Raises `UnknownTrace`."""
        if run_id not in self._heads:
            self._heads[run_id] = _locked_head(run_id)
        return self._heads[run_id]

    def add(self, event: TraceEvent, payload: Mapping[str, JSON]) -> int:
        """Give an event the next number of its trace and its redacted payload, and keep it."""
        head = self.head(event.trace_id)
        stored = payload_columns(_stored(head.tenant_id, head.redaction, payload, event.at), sealed=head.sealed)
        for column, value in stored.items():
            setattr(event, column, value)
        event.redactor_version = combined_version(head.redaction)
        head.number += 1
        head.changes["last_number"] = event.number = head.number
        self._events.append(event)
        return head.number

    def write(self, waiting: list[Write]) -> None:
        """Store the events and what has changed in the heads."""
        waiting += [updating(Trace, {"run_id": run}, head.changes) for run, head in self._heads.items() if head.changes]
        if self._events:
            waiting.append(insertion(self._events))


def _locked_head(run_id: UUID) -> _Head:
    lock = " FOR UPDATE OF traces_trace" if connection.features.has_select_for_update else ""
    found = execute(_HEAD + lock, [Trace.run_id.field.get_db_prep_value(run_id, connection)])
    if not found:
        raise UnknownTrace
    number, tenant_id, version, sealed, *lists = found[0]
    met = dict(zip(_LISTS, map(orjson.loads, lists), strict=True))
    return _Head(number, tenant_id, note_version(tenant_id, version), bool(sealed), met)


def record(
    *,
    run_id: UUID,
    kind: EventKind,
    payload: Mapping[str, JSON],
    now: datetime,
    call_id: str = "",
    gate_id: UUID | None = None,
    actor: str = "",
) -> int:
    """Append one event to a run's trace and return its number (from 1, without gaps).

    Args:
        run_id: the run; its trace was opened by `open_trace`.
        kind: what happened.
        payload: what is known of it, raw. It is redacted here; beyond 64 KB it is stored cut, with size and digest.
        now: when, as the caller's transaction sees it.
        call_id: id of the tool call that it is about.
        gate_id: id of the gate that it is about.
        actor: name of the person who did it, shown as it is.

    Raises:
        NoTransaction: called outside a transaction.
        UnknownTrace: the run has no trace.
    """
    _require_transaction()
    event = TraceEvent(trace_id=run_id, kind=kind, at=now, call_id=_name(call_id), gate_id=gate_id, actor=_name(actor))
    return keep(Traces, lambda traces: traces.add(event, payload))


def note_summary(
    *,
    run_id: UUID,
    state: str | None = None,
    finished_at: datetime | None = None,
    tool: str = "",
    decision: str = "",
    reviewer: str = "",
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cost_microdollars: int | None = None,
) -> None:
    """Keep the head of the trace in step with the run: what lists show and filter by.

    `tool`, `decision` and `reviewer` are added to what the run has met so far; the token counts and the cost (in
    millionths of a dollar) are the run's totals and replace what stood there.

    Raises:
        NoTransaction: called outside a transaction.
        UnknownTrace: the run has no trace.
    """
    _require_transaction()
    changes: dict[str, Any] = {
        "state": state,
        "finished_at": finished_at,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cost_microdollars": cost_microdollars,
    }

    def note(traces: Traces) -> None:
        head = traces.head(run_id)
        head.changes |= {field: value for field, value in changes.items() if value is not None}
        for column, value in (("tools", tool), ("decisions", decision), ("reviewers", reviewer)):
            head.meet(column, _name(value))

    keep(Traces, note)
