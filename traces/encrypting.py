"""Encrypts what a tenant's traces hold in clear since before it asked for encryption, while the system runs.

A trace counts as encrypted when the prompt in its head is. `encrypt` locks a head, so that nobody adds to its trace,
seals the events that are in clear, and the prompt last, when none is left. From then on the recorder seals whatever is
added, whatever the setting says, so no trace is ever encrypted in part for good.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import connection

from routekit_site.tenancy.encryption import seal
from routekit_site.tenancy.statements import update
from traces import ledger
from traces.errors import NoTransaction
from traces.kinds import LedgerKind
from traces.models import EncryptionPolicy, Trace, TraceEvent
from traces.sealing import payload_columns, resealing

_HEADS = 50
_EVENTS = 200
_COUNTED = 10_000


def tenants() -> list[int]:
    """Ids of the tenants that ask for encryption."""
    return list(EncryptionPolicy.objects.filter(encrypt_traces=True).values_list("tenant_id", flat=True))


def in_clear(tenant_id: int) -> tuple[int, bool]:
    """How many traces of a tenant are stored in clear, and whether that is all; a bounded look."""
    rows = Trace.objects.filter(tenant_id=tenant_id, prompt_sealed=None)[: _COUNTED + 1]
    found = rows.count()
    return min(found, _COUNTED), found <= _COUNTED


def encrypt(tenant_id: int, *, heads: int = _HEADS, events: int = _EVENTS) -> int:
    """Encrypt a batch of what the tenant has in clear, in the caller's transaction; how many values were sealed.

    Traces that somebody is writing now are left for later.
    """
    if not connection.in_atomic_block:
        raise NoTransaction
    clear = Trace.objects.filter(tenant_id=tenant_id, prompt_sealed=None)
    locked = clear.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
    prompts = dict(locked.values_list("run_id", "prompt")[:heads])
    unsealed = TraceEvent.objects.filter(trace_id__in=prompts, payload_sealed=None)
    found = list(unsealed.values_list("pk", "payload")[:events])
    with resealing():
        for key, payload in found:
            update(TraceEvent, {"id": key}, payload_columns(payload, sealed=True))
    left = set(unsealed.values_list("trace_id", flat=True).distinct()) if len(found) == events else set()
    return len(found) + sum(_sealed(run_id, prompt) for run_id, prompt in prompts.items() if run_id not in left)


def _sealed(run_id: UUID, prompt: str) -> int:
    return update(Trace, {"run_id": run_id}, {"prompt": "", "prompt_sealed": seal(prompt)})


def note(tenant_id: int, values: int, actor: str, now: datetime) -> None:
    """Write into the ledger that so many stored values were encrypted; nothing where none was."""
    if values:
        facts = {"what": "stored traces encrypted", "values": values}
        ledger.append(tenant_id=tenant_id, kind=LedgerKind.POLICY_CHANGE, actor=actor, facts=facts, now=now)
