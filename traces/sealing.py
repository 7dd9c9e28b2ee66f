"""Traces that are encrypted at rest: which tenants want it, and how a payload or prompt is stored and read back.

What is sealed here is redacted already: encryption comes on top, for whoever gets at a backup of the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from routekit_site.tenancy.encryption import seal, unseal
from routekit_site.tenancy.errors import DecryptionFailed
from routekit_site.tenancy.statements import Query, slot
from traces.models import EncryptionPolicy, RotationPermit, Trace, TraceEvent
from traces.payloads import JSON

LOCKED = "locked"
LOCKED_TEXT = "Encrypted with a key that is not in ROUTEKIT_ENCRYPTION_KEYS any more, so nobody can read it."

# For the statement that locks a head: whether what is added to its trace is to be sealed. The column is asked as well
# as the setting: a statement that has waited for the lock knows the row as it is then, but the setting as it was.
SEALED_SQL = (
    "(prompt_sealed IS NOT NULL OR COALESCE((SELECT encrypt_traces FROM traces_encryptionpolicy e "
    "WHERE e.tenant_id = traces_trace.tenant_id), FALSE))"
)


_ENCRYPTS = Query(
    lambda: EncryptionPolicy.objects.filter(tenant_id=slot("tenant"), encrypt_traces=True).values_list("tenant_id")
)


@dataclass(frozen=True)
class StoredText:
    """A text as two columns, of which one is used."""

    clear: str
    sealed: bytes | None


@contextmanager
def resealing() -> Iterator[None]:
    """Open the events' payloads for this transaction, to be sealed or sealed again (see `append_only`)."""
    permit = RotationPermit.objects.create()
    yield
    permit.delete()


def encrypts(tenant_id: int) -> bool:
    """Whether the tenant's traces are encrypted from now on."""
    return bool(_ENCRYPTS.rows(tenant=tenant_id))


def unsearchable(tenant_ids: Iterable[int]) -> bool:
    """Whether some of these tenants' traces may be encrypted, and so hidden from full-text search."""
    return EncryptionPolicy.objects.filter(tenant_id__in=list(tenant_ids)).exists()


def payload_columns(payload: dict[str, JSON], *, sealed: bool) -> dict[str, Any]:
    """The columns of an event that hold its (redacted) payload."""
    return {"payload": {}, "payload_sealed": seal(payload)} if sealed else {"payload": payload}


def sealed_text(text: str, *, sealed: bool) -> StoredText:
    """How a head's (redacted) prompt is stored."""
    return StoredText("", seal(text)) if sealed else StoredText(text, None)


def payload_of(event: TraceEvent) -> dict[str, JSON]:
    """The payload of a stored event. Of one whose key is gone: `{"locked": a sentence}`."""
    found = event.payload
    if event.payload_sealed is not None:
        try:
            found = unseal(event.payload_sealed)
        except DecryptionFailed:
            found = {LOCKED: LOCKED_TEXT}
    return found if isinstance(found, dict) else {"payload": found}


def prompt_of(trace: Trace) -> str:
    """The redacted prompt of a stored trace; a sentence where its key is gone."""
    if trace.prompt_sealed is None:
        return trace.prompt
    try:
        return str(unseal(trace.prompt_sealed))
    except DecryptionFailed:
        return LOCKED_TEXT


def is_locked(payload: JSON) -> bool:
    """Whether this is what stands for a payload that nobody can read."""
    return isinstance(payload, dict) and payload.get(LOCKED) == LOCKED_TEXT
