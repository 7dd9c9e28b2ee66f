"""The ledger: what was decided and done, one hash chain a tenant, append-only.

Each entry's hash is SHA-256 over the canonical JSON (RFC 8785) of the entry and the hash before it, so a change, a
gap or a swap anywhere breaks the chain there. Whoever can rewrite the whole table can rewrite the chain: note a head's
hash outside of the database (`manage.py verify_ledger` prints it, the log gets it hourly) and give it to `--expect`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import rfc8785
from django.db import DatabaseError, connection

from traces.canonical import canonical_bytes
from traces.errors import LedgerWriteFailed, NoTransaction
from traces.gathering import keep
from traces.heads import Heads
from traces.kinds import LedgerKind
from traces.models import LedgerEntry, TenantHead
from traces.payloads import JSON, clean_text
from traces.redactors import redact

_MAX_ACTOR = 200
_BATCH = 2000
_MAX_SEARCHED = 200
# Digests of the house's own making; a detector of secrets must not take one for a key.
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Fault:
    """One break of a chain: the number of the entry, what is wrong ("changed", "missing", …), and a sentence."""

    number: int
    kind: str
    message: str


def canonical(value: JSON) -> str:
    """`value` as canonical JSON (RFC 8785)."""
    return canonical_bytes(value).decode()


def link(*, tenant_id: int, number: int, at: datetime, kind: str, actor: str, facts: str, previous: str) -> str:
    """The hash of one entry, hex. `facts` is the stored text, byte for byte."""
    body: dict[str, JSON] = {
        "tenant": tenant_id,
        "number": number,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": kind,
        "actor": actor,
        "facts": facts,
        "previous": previous,
    }
    return hashlib.sha256(canonical_bytes(body)).hexdigest()


def _stored_facts(tenant_id: int, facts: Mapping[str, JSON]) -> str:
    digests = {key: value for key, value in facts.items() if isinstance(value, str) and _DIGEST.fullmatch(value)}
    others = {key: value for key, value in facts.items() if key not in digests}
    redacted = redact(tenant_id, others)
    fields = redacted if isinstance(redacted, dict) else {"facts": redacted}
    return canonical({**fields, **digests})


def append(*, tenant_id: int, kind: LedgerKind, actor: str, facts: Mapping[str, JSON], now: datetime) -> None:
    """Append one entry to the tenant's chain: in a gathered block, or just before `live.announce`, in one transaction.

    Args:
        tenant_id: whose ledger.
        kind: what was done.
        actor: who did it: a person's name, or the part of the site that acted.
        facts: what is to be remembered: ids, digests, states, reasons. Texts are redacted; digests (64 hex digits)
            stay as they are.
        now: when.

    Raises:
        NoTransaction: called outside a transaction.
        LedgerWriteFailed: the entry can't be written; the action that needed it must not happen. In a gathered block
            it is the block's end that raises it.
    """
    if not connection.in_atomic_block:
        raise NoTransaction
    try:
        chained = _Entry(tenant_id, now, kind, clean_text(actor)[:_MAX_ACTOR], _stored_facts(tenant_id, facts))
        keep(Heads, lambda heads: heads.chain(tenant_id, chained))
    except (DatabaseError, rfc8785.CanonicalizationError) as error:
        raise LedgerWriteFailed from error


@dataclass(frozen=True)
class _Entry:
    """An entry that waits for its place in the chain."""

    tenant_id: int
    at: datetime
    kind: LedgerKind
    actor: str
    facts: str

    def __call__(self, number: int, previous: str) -> LedgerEntry:
        own = {**vars(self), "number": number}
        return LedgerEntry(**own, previous_hash=previous, hash=link(**own, previous=previous))


def facts_of(entry: LedgerEntry) -> dict[str, Any]:
    """The facts of an entry; an empty dict where somebody made them unreadable (`verify` says so)."""
    try:
        facts = json.loads(entry.facts)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _hash_as(entry: LedgerEntry, number: int) -> str:
    return link(
        tenant_id=entry.tenant_id,
        number=number,
        at=entry.at,
        kind=entry.kind,
        actor=entry.actor,
        facts=entry.facts,
        previous=entry.previous_hash,
    )


def _altered(entry: LedgerEntry, broken: list[int]) -> Fault:
    """The fault of an entry whose own hash does not hold: it was moved here from another number, or changed."""
    for number in [entry.number - 1, entry.number + 1, *broken[-_MAX_SEARCHED:]]:
        if _hash_as(entry, number) == entry.hash:
            return Fault(entry.number, "reordered", f"entry {entry.number} was written as number {number}")
    return Fault(entry.number, "changed", f"entry {entry.number} is not what was written")


def _faults(tenant_id: int, start: TenantHead) -> Iterator[Fault]:
    expected, previous = start.ledger_base_number + 1, start.ledger_base_hash
    broken: list[int] = []
    entries = LedgerEntry.objects.filter(tenant_id=tenant_id).order_by("number", "pk")
    for entry in entries.iterator(chunk_size=_BATCH):
        if entry.number != expected:
            yield _misplaced(entry.number, expected)
        if _hash_as(entry, entry.number) != entry.hash:
            broken.append(entry.number)
            yield _altered(entry, broken)
        elif entry.number == expected and entry.previous_hash != previous:
            yield Fault(entry.number, "unlinked", f"entry {entry.number} does not follow the one before it")
        expected, previous = entry.number + 1, entry.hash
    if (expected - 1, previous) != (start.ledger_number, start.ledger_hash):
        yield _wrong_end(expected - 1, start.ledger_number)


def _misplaced(number: int, expected: int) -> Fault:
    if number < expected:
        return Fault(number, "inserted", f"entry {number} stands where none was written")
    last = f" to {number - 1}" if number - 1 > expected else ""
    return Fault(expected, "missing", f"entry {expected}{last} is missing")


def _wrong_end(last: int, head: int) -> Fault:
    if last < head:
        more = f" to {head}" if head > last + 1 else ""
        return Fault(last + 1, "missing", f"entry {last + 1}{more} is missing at the end")
    if last > head:
        return Fault(last, "inserted", f"entry {last} stands behind the end of the ledger, which is {head}")
    return Fault(last, "changed", f"entry {last}, the last one, is not what the head of the ledger says")


def _forgotten_without_record(tenant_id: int, head: TenantHead) -> Iterator[Fault]:
    """The base of a ledger whose beginning was forgotten must be named by a retention entry further on."""
    if not head.ledger_base_number:
        return
    named = {"ledger_to": head.ledger_base_number, "ledger_hash": head.ledger_base_hash}
    for entry in LedgerEntry.objects.filter(tenant_id=tenant_id, kind=LedgerKind.RETENTION).iterator():
        facts = facts_of(entry)
        if {key: facts.get(key) for key in named} == named:
            return
    number = head.ledger_base_number
    yield Fault(number, "missing", f"entries up to {number} are gone, and no retention entry says why")


def verify(tenant_id: int) -> list[Fault]:
    """Check the whole chain of a tenant; an empty list means that it holds.

    Each fault names the entry: "changed", "missing", "inserted", "reordered" or "unlinked"; or it is "unreadable" (of
    number 0), where somebody has put something into the table that is no entry at all.
    """
    head = TenantHead.objects.filter(pk=tenant_id).first() or TenantHead(tenant_id=tenant_id)
    found = list(_forgotten_without_record(tenant_id, head))
    try:
        for fault in _faults(tenant_id, head):
            found.append(fault)  # noqa: PERF402 - what was found before an unreadable entry counts
    except (DatabaseError, ValueError, TypeError, AttributeError, rfc8785.CanonicalizationError) as error:
        found.append(Fault(0, "unreadable", f"the ledger can't be read to its end ({type(error).__name__})"))
    return found


@dataclass(frozen=True)
class End:
    """Where a tenant's ledger ends: the slug of the tenant, the number of the last entry, and its hash."""

    tenant: str
    number: int
    hash: str


def heads() -> list[End]:
    """Where each ledger that has entries ends."""
    rows = TenantHead.objects.filter(ledger_number__gt=0).order_by("tenant__slug")
    return [End(*row) for row in rows.values_list("tenant__slug", "ledger_number", "ledger_hash")]


def holds_hash(tenant_id: int, entry_hash: str) -> bool:
    """Whether the chain still holds an entry whose hash was noted outside."""
    return LedgerEntry.objects.filter(tenant_id=tenant_id, hash=entry_hash).exists()
