"""The ledger: a chain in which every change of a row, every gap, insertion and swap is found and named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.cast import Cast
from traces import ledger
from traces.errors import LedgerWriteFailed
from traces.kinds import LedgerKind
from traces.models import LedgerEntry, TenantHead

LENGTH = 6
COLUMNS = ("number", "at", "kind", "actor", "facts", "previous_hash", "hash", "tenant_id")


def fill(tenant_id: int, count: int = LENGTH) -> None:
    """A ledger of decisions."""
    start = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    for number in range(count):
        ledger.append(
            tenant_id=tenant_id,
            kind=LedgerKind.DECISION,
            actor="Rita Example",
            facts={"gate": f"gate {number}", "digest": "ab" * 32, "count": number},
            now=start + timedelta(minutes=number),
        )


@pytest.fixture
def acme(cast: Cast) -> int:
    """The id of a tenant with a ledger."""
    fill(cast.acme.pk)
    return cast.acme.pk


def faults(tenant_id: int) -> list[tuple[int, str]]:
    """Number and kind of each fault."""
    return [(fault.number, fault.kind) for fault in ledger.verify(tenant_id)]


def test_an_untouched_ledger_holds(acme: int, cast: Cast) -> None:
    assert ledger.verify(acme) == []
    assert ledger.verify(cast.globex.pk) == []
    last = LedgerEntry.objects.get(tenant_id=acme, number=LENGTH)
    assert TenantHead.objects.get(pk=acme).ledger_hash == last.hash


def test_tenants_have_chains_of_their_own(acme: int, cast: Cast) -> None:
    fill(cast.globex.pk, 2)
    assert ledger.verify(acme) == ledger.verify(cast.globex.pk) == []
    LedgerEntry.objects.filter(tenant=cast.globex, number=1).update(actor="mallory")
    assert faults(acme) == []
    assert faults(cast.globex.pk) == [(1, "changed")]


@pytest.mark.parametrize("number", range(1, LENGTH + 1))
def test_a_missing_entry_is_named(acme: int, number: int) -> None:
    LedgerEntry.objects.filter(tenant_id=acme, number=number).delete()
    assert faults(acme) == [(number, "missing")]


def test_a_gap_of_several_is_named_by_its_ends(acme: int) -> None:
    LedgerEntry.objects.filter(tenant_id=acme, number__in=[2, 3, 4]).delete()
    assert [fault.message for fault in ledger.verify(acme)] == ["entry 2 to 4 is missing"]


def test_a_swap_is_named_as_such(acme: int) -> None:
    entries = LedgerEntry.objects.filter(tenant_id=acme)
    entries.filter(number=2).update(number=99)
    entries.filter(number=3).update(number=2)
    entries.filter(number=99).update(number=3)
    assert {(2, "reordered"), (3, "reordered")} <= set(faults(acme))


def test_an_entry_whose_hash_was_made_to_fit_breaks_the_link_of_the_next(acme: int) -> None:
    entry = LedgerEntry.objects.get(tenant_id=acme, number=3)
    entry.actor = "mallory"
    entry.hash = ledger.link(
        tenant_id=acme,
        number=3,
        at=entry.at,
        kind=entry.kind,
        actor="mallory",
        facts=entry.facts,
        previous=entry.previous_hash,
    )
    entry.save()
    assert faults(acme) == [(4, "unlinked")]


def test_reasons_are_redacted_and_digests_are_kept(acme: int, now: datetime) -> None:
    facts = {"reason": "ask erika.mustermann@example.org", "digest": "0123456789abcdef" * 4}
    ledger.append(tenant_id=acme, kind=LedgerKind.DECISION, actor="rita", facts=facts, now=now)
    entry = LedgerEntry.objects.get(tenant_id=acme, number=LENGTH + 1)
    assert ledger.facts_of(entry) == {"reason": "ask [EMAIL]", "digest": "0123456789abcdef" * 4}


def test_a_ledger_that_cannot_be_written_stops_the_action(acme: int, now: datetime) -> None:
    LedgerEntry.objects.filter(tenant_id=acme, number=LENGTH).update(number=LENGTH + 1)
    with pytest.raises(LedgerWriteFailed):
        ledger.append(tenant_id=acme, kind=LedgerKind.DECISION, actor="rita", facts={}, now=now)


def test_the_command_tells_the_head_and_fails_on_a_fault(acme: int, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("verify_ledger")
    head = TenantHead.objects.get(pk=acme).ledger_hash
    assert f"acme: {LENGTH} entries, head {head}" in capsys.readouterr().out
    call_command("verify_ledger", "--tenant", "acme", "--expect", head)
    with pytest.raises(CommandError, match="not in the ledger"):
        call_command("verify_ledger", "--tenant", "acme", "--expect", "0" * 64)
    with pytest.raises(CommandError, match="no tenant"):
        call_command("verify_ledger", "--tenant", "nowhere")
    LedgerEntry.objects.filter(tenant_id=acme, number=2).delete()
    with pytest.raises(CommandError, match="entry 2 is missing"):
        call_command("verify_ledger")


@pytest.fixture
def rows(acme: int) -> list[tuple[Any, ...]]:
    """The ledger's rows as tuples of `COLUMNS`, oldest first."""
    return list(LedgerEntry.objects.filter(tenant_id=acme).order_by("number").values_list(*COLUMNS))


@st.composite
def tamperings(draw: st.DrawFn) -> tuple[str, int, int, int, int]:
    """What is done, to which row, with which other row, in which column, at which byte."""
    act = draw(st.sampled_from(["change", "delete", "insert", "swap"]))
    row, other = draw(st.integers(0, LENGTH - 1)), draw(st.integers(0, LENGTH - 1))
    return act, row, other, draw(st.integers(0, len(COLUMNS) - 1)), draw(st.integers(0, 10_000))


def changed(value: Any, at: int) -> Any:
    """`value` with a single byte (or unit) changed."""
    if isinstance(value, int):
        return value + 1 + at % 5
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1 + at)
    place = at % len(value)
    replacement = chr(ord("a") + (ord(value[place]) - ord("a") + 1 + at % 20) % 26)
    return value[:place] + (replacement if replacement != value[place] else "Z") + value[place + 1 :]


def tampered(rows: list[tuple[Any, ...]], how: tuple[str, int, int, int, int]) -> list[tuple[Any, ...]]:
    """The rows after somebody was at them."""
    act, row, other, column, at = how
    result = list(rows)
    if act == "delete":
        del result[row]
    elif act == "insert":
        result.append((LENGTH + 1 + at % 3, *rows[row][1:]))
    elif act == "swap":
        result[row], result[other] = (rows[row][0], *rows[other][1:]), (rows[other][0], *rows[row][1:])
    else:
        result[row] = tuple(changed(value, at) if place == column else value for place, value in enumerate(rows[row]))
    return result


@given(how=tamperings())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_change_of_a_byte_deletion_insertion_and_swap_is_detected(
    acme: int, rows: list[tuple[Any, ...]], how: tuple[str, int, int, int, int]
) -> None:
    after = tampered(rows, how)
    LedgerEntry.objects.all().delete()
    left = [row for row in after if row[-1] == acme]
    try:
        with transaction.atomic():
            LedgerEntry.objects.bulk_create(LedgerEntry(**dict(zip(COLUMNS, row, strict=True))) for row in left)
    except IntegrityError:
        return  # a number that stands there already: the database itself refused
    assert (ledger.verify(acme) == []) == (sorted(after) == sorted(rows))


def test_a_byte_of_the_stored_text_counts_even_where_the_json_means_the_same(acme: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE traces_ledgerentry SET facts = facts || ' ' WHERE number = 4")
    assert faults(acme) == [(4, "changed")]
