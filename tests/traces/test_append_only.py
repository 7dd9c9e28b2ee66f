"""The database itself refuses to change or delete events and ledger entries, but for retention."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import Model

from tests.fixtures.cast import Cast
from traces import append_only, ledger, recorder
from traces.kinds import LedgerKind
from traces.models import LedgerEntry, RetentionPermit, TraceEvent


@pytest.fixture
def rows(cast: Cast, now: datetime) -> None:
    """One event and one ledger entry, under the guard."""
    append_only.install(connection)
    recorder.open_trace(
        tenant_id=cast.acme.pk, run_id=uuid4(), agent_name="Files", submitter_id=cast.alice.pk, prompt="hello", now=now
    )
    ledger.append(tenant_id=cast.acme.pk, kind=LedgerKind.DECISION, actor="rita", facts={}, now=now)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("model", [TraceEvent, LedgerEntry])
def test_update_and_delete_are_refused(model: type[Model]) -> None:
    for change in (
        lambda: model._default_manager.update(actor="mallory"),
        lambda: model._default_manager.all().delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    assert model._default_manager.exclude(actor="mallory").count() == 1


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", list(append_only.TABLES))
def test_a_row_cannot_be_replaced_by_a_new_one_in_its_place(table: str) -> None:
    with connection.cursor() as cursor:
        columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
        forged = ", ".join({"actor": "'mallory'", "id": "id + 1"}.get(column, column) for column in columns)
        for values in (forged, forged.replace("id + 1", "id")):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                cursor.execute(f"INSERT OR REPLACE INTO {table} SELECT {values} FROM {table}")


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("model", [TraceEvent, LedgerEntry])
def test_a_permit_opens_delete_but_never_update(model: type[Model], cast: Cast) -> None:
    permit = RetentionPermit.objects.create(tenant=cast.acme)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        model._default_manager.update(actor="mallory")
    model._default_manager.all().delete()
    permit.delete()
    assert not model._default_manager.exists()
