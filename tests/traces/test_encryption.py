"""Traces encrypted at rest: what is stored, what search can't see, a lost key, and the rotation of keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from io import StringIO
from uuid import UUID, uuid4

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from pytest_django import Settings

from routekit_site.tenancy.adapters import SecondFactorAdapter
from routekit_site.tenancy.encryption import FORGOTTEN, reseal, seal, unseal
from routekit_site.tenancy.errors import DecryptionFailed, ValueForgotten
from routekit_site.tenancy.models import User
from tests.fixtures.cast import Cast
from traces import append_only, encrypting, export, ledger, recorder, rotation, tasks
from traces.kinds import EventKind, LedgerKind
from traces.models import EncryptionPolicy, LedgerEntry, RotationPermit, Trace, TraceEvent
from traces.timeline import run_timeline

ClientOf = Callable[[User], Client]
LIST = "/admin/traces/trace/"
WORD = "elderberries"


def traced(cast: Cast, now: datetime, *, sealed: bool) -> UUID:
    """A run whose prompt and note hold the word."""
    EncryptionPolicy.objects.update_or_create(tenant=cast.acme, defaults={"encrypt_traces": sealed})
    run = uuid4()
    with transaction.atomic():
        recorder.open_trace(
            tenant_id=cast.acme.pk, run_id=run, agent_name="Files", submitter_id=cast.alice.pk, prompt=WORD, now=now
        )
        recorder.record(run_id=run, kind=EventKind.NOTE, payload={"smell": WORD}, now=now)
        recorder.record(run_id=run, kind=EventKind.MODEL_ERROR, payload={"message": "no"}, now=now)
    return run


def stored(table: str) -> str:
    """All of a table as the database holds it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        return repr(cursor.fetchall())


def test_nothing_of_an_encrypted_trace_is_stored_in_clear(cast: Cast, now: datetime) -> None:
    traced(cast, now, sealed=True)
    assert WORD not in stored("traces_traceevent") + stored("traces_trace")
    traced(cast, now, sealed=False)
    assert WORD in stored("traces_traceevent")
    assert WORD in stored("traces_trace")


def test_pages_and_exports_read_it_and_search_says_what_it_cannot_see(
    cast: Cast, now: datetime, client_of: ClientOf
) -> None:
    run = traced(cast, now, sealed=True)
    client = client_of(cast.adam)
    assert WORD in client.get(LIST).content.decode()
    assert WORD in client.get(f"{LIST}{run}/change/").content.decode()
    assert WORD.encode() in export.of_run(run, export.Format.JSONL).content
    found = client.get(f"{LIST}?q={WORD}")
    assert list(found.context["cl"].result_list) == []
    assert "Encrypted traces are not searched" in found.content.decode()
    by_kind = client.get(f"{LIST}?q=model.error")
    assert [trace.pk for trace in by_kind.context["cl"].result_list] == [run]
    assert "Encrypted traces" not in client.get(LIST).content.decode()


def test_other_tenants_are_told_nothing_of_it(cast: Cast, now: datetime, client_of: ClientOf) -> None:
    traced(cast, now, sealed=True)
    assert "Encrypted traces" not in client_of(cast.ada).get(f"{LIST}?q={WORD}").content.decode()


def test_of_a_lost_key_the_trace_says_so_and_the_rest_works(
    cast: Cast, now: datetime, client_of: ClientOf, settings: Settings
) -> None:
    lost = traced(cast, now, sealed=True)
    settings.ROUTEKIT_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)
    kept = traced(cast, now, sealed=True)
    client = client_of(cast.adam)
    page = client.get(f"{LIST}{lost}/change/")
    assert page.status_code == 200
    assert "3 events of this trace can&#x27;t be read" in page.content.decode().replace("can't", "can&#x27;t")
    assert [event.kind for step in page.context["timeline"].steps for event in (line.event for line in step.lines)] == [
        "run.submitted",
        "note",
        "model.error",
    ]
    listed = client.get(LIST)
    assert {trace.pk for trace in listed.context["cl"].result_list} == {lost, kept}
    assert WORD in listed.content.decode()
    assert run_timeline(kept).locked == 0
    assert b"nobody can read it" in export.of_run(lost, export.Format.JSONL).content


def test_turning_it_on_is_an_entry_of_the_ledger(cast: Cast, client_of: ClientOf) -> None:
    client = client_of(cast.adam)
    answer = client.post("/admin/traces/encryptionpolicy/add/", {"tenant": str(cast.acme.pk), "encrypt_traces": "on"})
    assert answer.status_code == 302
    assert EncryptionPolicy.objects.get(tenant=cast.acme).encrypt_traces
    facts = ledger.facts_of(LedgerEntry.objects.get(kind=LedgerKind.POLICY_CHANGE))
    assert (facts["what"], facts["after"]) == ("encryption policy", {"encrypt_traces": True})
    for person in (cast.alice, cast.rita, cast.audra, cast.ada):
        refused = client_of(person).post(
            "/admin/traces/encryptionpolicy/add/", {"tenant": str(cast.acme.pk), "encrypt_traces": "on"}
        )
        assert refused.status_code != 302 or "/admin/traces" not in refused.headers["Location"]


def test_a_forgotten_value_is_no_lost_key() -> None:
    with pytest.raises(ValueForgotten):
        unseal(FORGOTTEN)
    with pytest.raises(DecryptionFailed):
        unseal(b"nonsense")


def test_every_sealed_column_of_the_house_is_rotated() -> None:
    """By name: a new one can't be forgotten. These are the ones that there are at least."""
    names = {f"{model.__name__}.{column}" for model, column in rotation.sealed_columns()}
    assert names >= {
        "Run.prompt_sealed",
        "ModelReply.text_sealed",
        "ToolCall.arguments_sealed",
        "ToolCall.proposed_sealed",
        "ToolCall.result_sealed",
        "ApprovalGate.arguments_sealed",
        "RecordedCall.arguments_sealed",
        "ToolRule.constraints_sealed",
        "Trace.prompt_sealed",
        "TraceEvent.payload_sealed",
    }


def turned(settings: Settings) -> str:
    """A fresh newest key in front of the ring; returns it."""
    key = Fernet.generate_key().decode()
    settings.ROUTEKIT_ENCRYPTION_KEYS = (key, *settings.ROUTEKIT_ENCRYPTION_KEYS)
    return key


@pytest.mark.django_db(transaction=True)
def test_after_a_rotation_the_old_key_can_go(cast: Cast, now: datetime, settings: Settings) -> None:
    run = traced(cast, now, sealed=True)
    for kind, name in (("totp", "secret"), ("recovery_codes", "seed")):
        kept = {name: SecondFactorAdapter().encrypt(WORD), "used_mask": 1}
        Authenticator.objects.create(user=cast.rita, type=kind, data=kept)
    append_only.install(connection)
    try:
        key = turned(settings)
        with pytest.raises(CommandError, match="Run rotate_keys"):
            call_command("rotate_keys", check=True, stdout=StringIO())
        out = StringIO()
        call_command("rotate_keys", batch=2, stdout=out)
        assert "traces.TraceEvent.payload_sealed: 0 under the newest key, 3 encrypted again" in out.getvalue()
        assert "mfa.Authenticator.data: 0 under the newest key, 2 encrypted again" in out.getvalue()
        entries = LedgerEntry.objects.count()
        again = StringIO()
        call_command("rotate_keys", stdout=again)
        assert "traces.TraceEvent.payload_sealed: 3 under the newest key, 0 encrypted again" in again.getvalue()
        assert LedgerEntry.objects.count() == entries == 2
        settings.ROUTEKIT_ENCRYPTION_KEYS = (key,)
        call_command("rotate_keys", check=True, stdout=StringIO())
        assert run_timeline(run).locked == 0
        assert unseal(Trace.objects.get(pk=run).prompt_sealed or b"") == WORD
        for factor in Authenticator.objects.all():
            (token,) = [value for value in factor.data.values() if isinstance(value, str)]
            assert SecondFactorAdapter().decrypt(token) == WORD
            assert factor.data["used_mask"] == 1
        assert not RotationPermit.objects.exists()
    finally:
        append_only.remove(connection)


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_rotation_goes_on_where_it_was(
    cast: Cast, now: datetime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced(cast, now, sealed=True)
    turned(settings)
    calls: list[bytes] = []

    def fails_at_the_second(token: bytes) -> bytes:
        calls.append(token)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return reseal(token)

    monkeypatch.setattr("traces.rotation.reseal", fails_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        rotation.rotate((TraceEvent, "payload_sealed"), batch=1)
    monkeypatch.undo()
    count = rotation.rotate((TraceEvent, "payload_sealed"), batch=1)
    assert (count.current, count.resealed) == (1, 2)


@pytest.mark.django_db(transaction=True)
def test_what_others_write_meanwhile_is_not_lost(
    cast: Cast, now: datetime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = traced(cast, now, sealed=True)
    turned(settings)

    def overtaken(token: bytes) -> bytes:
        Trace.objects.filter(pk=run).update(prompt_sealed=seal("written meanwhile"))
        return reseal(token)

    monkeypatch.setattr("traces.rotation.reseal", overtaken)
    count = rotation.rotate((Trace, "prompt_sealed"))
    assert (count.resealed, count.changed) == (0, 1)
    assert unseal(Trace.objects.get(pk=run).prompt_sealed or b"") == "written meanwhile"


@pytest.mark.django_db(transaction=True)
def test_values_of_a_lost_key_are_named_and_the_others_rotated(cast: Cast, now: datetime, settings: Settings) -> None:
    lost = traced(cast, now, sealed=True)
    settings.ROUTEKIT_ENCRYPTION_KEYS = (Fernet.generate_key().decode(),)
    kept = traced(cast, now, sealed=True)
    key = turned(settings)
    with pytest.raises(CommandError, match=f"(?s)under no key.*Trace.prompt_sealed {lost}"):
        call_command("rotate_keys", stdout=StringIO())
    settings.ROUTEKIT_ENCRYPTION_KEYS = (key,)
    assert run_timeline(kept).locked == 0


def everything_clear(cast: Cast) -> tuple[int, int]:
    """How many prompts and payloads of the tenant are stored in clear."""
    heads = Trace.objects.filter(tenant=cast.acme, prompt_sealed=None).count()
    return heads, TraceEvent.objects.filter(trace__tenant=cast.acme, payload_sealed=None).count()


@pytest.mark.django_db(transaction=True)
def test_turning_it_on_encrypts_what_is_stored_already(cast: Cast, now: datetime, client_of: ClientOf) -> None:
    runs = [traced(cast, now, sealed=False) for _ in range(2)]
    other = uuid4()
    with transaction.atomic():
        recorder.open_trace(
            tenant_id=cast.globex.pk, run_id=other, agent_name="Files", submitter_id=cast.ada.pk, prompt=WORD, now=now
        )
    append_only.install(connection)
    try:
        client, page = client_of(cast.adam), "/admin/traces/encryptionpolicy/"
        assert "2 traces<" in client.get(page).content.decode()
        EncryptionPolicy.objects.filter(tenant=cast.acme).update(encrypt_traces=True)
        assert "2 traces, being encrypted" in client.get(page).content.decode()
        call_command("rotate_keys", check=True, stdout=(out := StringIO()))
        assert "acme: 2 traces are still stored in clear" in out.getvalue()
        tasks.encrypt()
        assert everything_clear(cast) == (0, 0)
        assert "nothing" in client.get(page).content.decode()
        assert Trace.objects.get(pk=other).prompt == WORD
        entry = LedgerEntry.objects.get(tenant=cast.acme)
        assert ledger.facts_of(entry) == {"what": "stored traces encrypted", "values": 8}
        tasks.encrypt()
        assert LedgerEntry.objects.count() == 1
        for run in runs:
            text = client.get(f"{LIST}{run}/change/").content.decode()
            assert WORD in text
            assert Trace.objects.get(pk=run).prompt == ""
    finally:
        append_only.remove(connection)


@pytest.mark.django_db(transaction=True)
def test_what_is_stored_is_encrypted_in_batches_the_prompt_last(cast: Cast, now: datetime) -> None:
    run = traced(cast, now, sealed=False)
    for sealed, left in ((2, (1, 1)), (2, (0, 0)), (0, (0, 0))):
        with transaction.atomic():
            assert encrypting.encrypt(cast.acme.pk, events=2) == sealed
        assert everything_clear(cast) == left
    with transaction.atomic():
        recorder.record(run_id=run, kind=EventKind.NOTE, payload={"smell": WORD}, now=now)
    assert everything_clear(cast) == (0, 0)


@pytest.mark.django_db(transaction=True)
def test_rotating_keys_encrypts_what_is_in_clear_too(cast: Cast, now: datetime) -> None:
    traced(cast, now, sealed=False)
    EncryptionPolicy.objects.filter(tenant=cast.acme).update(encrypt_traces=True)
    call_command("rotate_keys", stdout=(out := StringIO()))
    assert "acme: 4 values of traces were in clear, now encrypted" in out.getvalue()
    assert everything_clear(cast) == (0, 0)


def test_a_permit_of_rotation_opens_the_sealed_payload_and_nothing_else(cast: Cast, now: datetime) -> None:
    run = traced(cast, now, sealed=True)
    append_only.install(connection)
    events = TraceEvent.objects.filter(trace=run)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        events.update(payload_sealed=b"x")
    RotationPermit.objects.create()
    assert events.update(payload_sealed=b"x") == 3
    for change in ({"payload": {"a": 1}}, {"actor": "mallory"}, {"payload_sealed": None}, {"number": 9}):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            events.update(**change)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        events.delete()
    ledger.append(tenant_id=cast.acme.pk, kind=LedgerKind.DECISION, actor="rita", facts={}, now=now)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LedgerEntry.objects.update(actor="mallory")
