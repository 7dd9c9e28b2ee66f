"""The only writer of trace rows. Redacts first, numbers without gaps, appends only.

All calls belong into the transaction that makes the change they record, after its own rows and before
`ledger.append` and `live.announce` (one lock order everywhere: run, gate, trace, tenant head).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from traces.errors import NoTransaction, UnknownTrace
from traces.kinds import EventKind
from traces.models import Trace, TraceEvent
from traces.payloads import JSON, clean_text, fitted
from traces.redactors import POLICY_VERSION_SQL, combined_version, policy_version, redact_under
from traces.sealing import ENCRYPTS_SQL, encrypts, payload_columns, sealed_text

_MAX_NAME = 200
_MAX_LISTED = 200

# Taking the number and reading what redaction needs is one round trip; the row stays locked until the commit.
_TAKE_NUMBER = (
    "UPDATE traces_trace SET last_number = last_number + 1 WHERE run_id = %s "
    f"RETURNING last_number, tenant_id, {POLICY_VERSION_SQL.format(table='traces_trace')}, "
    f"{ENCRYPTS_SQL.format(table='traces_trace')}"
)


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise NoTransaction


def _name(text: str) -> str:
    return clean_text(text)[:_MAX_NAME]


def _stored(tenant_id: int, version: int, payload: Mapping[str, JSON]) -> dict[str, JSON]:
    """The payload as it is written: redacted, then cut to size. A failed redaction keeps nothing of it."""
    redacted = redact_under(tenant_id, version, dict(payload))
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
    payload = _stored(tenant_id, version, {"agent": agent_name, "prompt": prompt})
    shown = payload.get("prompt", "")
    sealed = encrypts(tenant_id)
    text = sealed_text(shown if isinstance(shown, str) else str(payload), sealed=sealed)
    Trace.objects.create(
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
    TraceEvent.objects.create(
        trace_id=run_id,
        number=1,
        kind=EventKind.RUN_SUBMITTED,
        at=now,
        redactor_version=combined_version(version),
        **payload_columns(payload, sealed=sealed),
    )


def _take_number(run_id: UUID) -> tuple[int, int, int, bool]:
    """The run's next event number, its tenant, its redaction policy's version, and whether it encrypts its traces."""
    key = Trace.run_id.field.get_db_prep_value(run_id, connection)
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_NUMBER, [key])
        row = cursor.fetchone()
    if row is None:
        raise UnknownTrace
    return row  # type: ignore[no-any-return]


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
    number, tenant_id, version, sealed = _take_number(run_id)
    TraceEvent.objects.create(
        trace_id=run_id,
        number=number,
        kind=kind,
        at=now,
        call_id=_name(call_id),
        gate_id=gate_id,
        actor=_name(actor),
        redactor_version=combined_version(version),
        **payload_columns(_stored(tenant_id, version, payload), sealed=bool(sealed)),
    )
    return number


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
    changes = {field: value for field, value in changes.items() if value is not None}
    met = {"tools": tool, "decisions": decision, "reviewers": reviewer}
    if any(met.values()):
        changes |= _added(run_id, met)
    # A value that the lists hold already changes nothing, and an update of nothing matches no row.
    if changes and not Trace.objects.filter(pk=run_id).update(**changes):
        raise UnknownTrace


def _added(run_id: UUID, met: dict[str, str]) -> dict[str, list[str]]:
    """The lists of the head that gain a value. The row is locked: two writers must not lose each other's value."""
    stored = Trace.objects.select_for_update().filter(pk=run_id).values(*met).first()
    if stored is None:
        raise UnknownTrace
    return {
        field: [*stored[field], _name(value)]
        for field, value in met.items()
        if value and _name(value) not in stored[field] and len(stored[field]) < _MAX_LISTED
    }
