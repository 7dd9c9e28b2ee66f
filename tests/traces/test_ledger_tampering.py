"""Whatever is changed in a stored ledger is detected: each byte, each deletion, insertion, swap and cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.fixtures.cast import Cast
from traces import ledger, tasks
from traces.kinds import LedgerKind
from traces.models import LedgerEntry, TenantHead

ENTRIES = 6
TABLE = "traces_ledgerentry"
COLUMNS = ("tenant_id", "number", "at", "kind", "actor", "facts", "previous_hash", "hash")
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def chain(cast: Cast, now: datetime) -> int:
    """The tenant of a ledger of six entries that holds."""
    with transaction.atomic():
        for number in range(ENTRIES):
            ledger.append(
                tenant_id=cast.acme.pk,
                kind=LedgerKind.DECISION,
                actor="rita",
                facts={"gate": number, "reason": "Grüße"},
                now=now + timedelta(minutes=number, microseconds=number),
            )
    assert ledger.verify(cast.acme.pk) == []
    return cast.acme.pk


@contextmanager
def tampered() -> Iterator[Callable[..., None]]:
    """Run SQL behind everybody's back; undone at the end."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            yield cursor.execute
        transaction.set_rollback(True)


def as_read(tenant: int) -> list[tuple[Any, ...]] | None:
    """The ledger as Django reads it; None where it can't."""
    try:
        return sorted(LedgerEntry.objects.filter(tenant_id=tenant).values_list(*COLUMNS))
    except Exception:  # noqa: BLE001 - whatever the driver makes of bytes that are no text
        return None


@many
@given(data=st.data())
def test_each_changed_byte_is_detected(chain: int, data: st.DataObject) -> None:
    number, column = data.draw(st.integers(1, ENTRIES)), data.draw(st.sampled_from(COLUMNS))
    before = as_read(chain)
    with tampered() as execute, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT CAST({column} AS TEXT) FROM {TABLE} WHERE tenant_id = %s AND number = %s", [chain, number]
        )
        stored = bytearray(cursor.fetchone()[0].encode())
        place = data.draw(st.integers(0, len(stored) - 1))
        stored[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != stored[place]))
        if column in {"tenant_id", "number"}:
            assume(stored.isdigit() and int(stored) != number)
            assume(column == "number" or int(stored) in {1, 2})
            assume(column == "tenant_id" or int(stored) > ENTRIES)
        execute(
            f"UPDATE {TABLE} SET {column} = CAST(%s AS TEXT) WHERE tenant_id = %s AND number = %s",
            [bytes(stored), chain, number],
        )
        # A byte that changes nothing of the value (a "T" between date and time) is no change.
        assume(as_read(chain) != before)
        assert ledger.verify(chain)


@few
@given(gone=st.sets(st.integers(1, ENTRIES), min_size=1))
def test_each_deletion_is_detected_and_named(chain: int, gone: set[int]) -> None:
    with tampered() as execute:
        for number in gone:
            execute(f"DELETE FROM {TABLE} WHERE tenant_id = %s AND number = %s", [chain, number])
        faults = ledger.verify(chain)
        assert {fault.kind for fault in faults} == {"missing"}
        assert min(fault.number for fault in faults) == min(gone)


@few
@given(kept=st.integers(0, ENTRIES - 1))
def test_a_cut_of_the_newest_entries_is_detected_even_if_the_head_is_rewritten(chain: int, kept: int) -> None:
    noted = TenantHead.objects.get(pk=chain).ledger_hash
    with tampered() as execute:
        execute(f"DELETE FROM {TABLE} WHERE tenant_id = %s AND number > %s", [chain, kept])
        assert [(fault.number, fault.kind) for fault in ledger.verify(chain)] == [(kept + 1, "missing")]
        last = LedgerEntry.objects.filter(tenant_id=chain, number=kept).first()
        TenantHead.objects.filter(pk=chain).update(
            ledger_number=kept, ledger_hash=last.hash if last else TenantHead.FIRST_HASH
        )
        # Whoever rewrites the head too leaves a chain that holds: only what was noted outside tells.
        assert ledger.verify(chain) == []
        assert not ledger.holds_hash(chain, noted)


@few
@given(source=st.integers(1, ENTRIES), number=st.integers(ENTRIES + 1, ENTRIES + 9), relink=st.booleans())
def test_each_insertion_is_detected(chain: int, source: int, number: int, *, relink: bool) -> None:
    with tampered():
        entry = LedgerEntry.objects.get(tenant_id=chain, number=source)
        head = TenantHead.objects.get(pk=chain)
        previous = head.ledger_hash if relink else entry.previous_hash
        facts: dict[str, Any] = {"kind": entry.kind, "actor": "mallory", "facts": entry.facts, "at": entry.at}
        forged = ledger.link(tenant_id=chain, number=number, previous=previous, **facts)
        LedgerEntry.objects.create(tenant_id=chain, number=number, previous_hash=previous, hash=forged, **facts)
        assert ledger.verify(chain)


@few
@given(pair=st.sets(st.integers(1, ENTRIES), min_size=2, max_size=2), hashes=st.booleans())
def test_each_swap_is_detected(chain: int, pair: set[int], *, hashes: bool) -> None:
    one, other = sorted(pair)
    columns = [column for column in COLUMNS if column not in {"tenant_id", "number"}]
    columns = columns if hashes else [column for column in columns if not column.endswith("hash")]
    with tampered():
        rows = {n: LedgerEntry.objects.filter(tenant_id=chain, number=n).values(*columns).get() for n in (one, other)}
        LedgerEntry.objects.filter(tenant_id=chain, number=one).update(**rows[other])
        LedgerEntry.objects.filter(tenant_id=chain, number=other).update(**rows[one])
        faults = ledger.verify(chain)
        assert {one, other} <= {fault.number for fault in faults}
        if hashes:
            assert {fault.kind for fault in faults} >= {"reordered"}


def test_a_changed_or_deleted_head_is_detected(chain: int) -> None:
    for change in ({"ledger_number": 3}, {"ledger_hash": "f" * 64}, {"ledger_base_number": 2}):
        with transaction.atomic():
            TenantHead.objects.filter(pk=chain).update(**change)
            assert ledger.verify(chain), change
            transaction.set_rollback(True)
    TenantHead.objects.filter(pk=chain).delete()
    assert ledger.verify(chain)


def test_an_entry_that_cannot_be_read_is_a_fault_and_no_crash(chain: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {TABLE} SET at = 'yesterday' WHERE number = 3")
    faults = ledger.verify(chain)
    assert any(fault.kind == "unreadable" for fault in faults)
    with pytest.raises(CommandError, match="can't be read"):
        call_command("verify_ledger", stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_heads_are_written_to_the_log_which_is_kept_elsewhere(chain: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="traces.tasks"):
        tasks.note_heads()
    head = TenantHead.objects.get(pk=chain)
    assert f"entry {head.ledger_number}, hash {head.ledger_hash}" in caplog.text
    call_command("verify_ledger", expect=head.ledger_hash, stdout=StringIO())
