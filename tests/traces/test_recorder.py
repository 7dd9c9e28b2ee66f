"""What is recorded: redacted first, numbered without gaps, and stored whatever it is."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from django.db import transaction
from django.test import TestCase

from routekit_site.tenancy.heartbeats import redaction_failures
from tests.fixtures.cast import Cast
from traces import recorder, redactors
from traces.errors import NoTransaction, UnknownTrace
from traces.gathering import gathered
from traces.kinds import EventKind
from traces.models import RedactionPolicy, Trace, TraceEvent
from traces.payloads import MAX_STORED_BYTES


@pytest.fixture
def run_id(cast: Cast, now: datetime) -> UUID:
    """A run of alice with an opened trace."""
    run = uuid4()
    recorder.open_trace(
        tenant_id=cast.acme.pk,
        run_id=run,
        agent_name="Files",
        submitter_id=cast.alice.pk,
        prompt="Mail erika.mustermann@example.org and read notes.txt",
        now=now,
    )
    return run


def stored(run_id: UUID, payload: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What stands in the database after recording `payload`."""
    number = recorder.record(run_id=run_id, kind=EventKind.NOTE, payload=payload, now=now)
    found: dict[str, Any] = TraceEvent.objects.get(trace_id=run_id, number=number).payload
    return found


def test_the_prompt_is_redacted_in_the_head_and_in_the_first_event(run_id: UUID) -> None:
    head, event = Trace.objects.get(pk=run_id), TraceEvent.objects.get(trace_id=run_id)
    assert head.prompt == "Mail [EMAIL] and read notes.txt"
    assert event.payload["prompt"] == head.prompt
    assert (event.kind, event.number) == (EventKind.RUN_SUBMITTED, 1)


def test_events_are_numbered_from_one_without_gaps(run_id: UUID, now: datetime) -> None:
    for expected in range(2, 12):
        assert recorder.record(run_id=run_id, kind=EventKind.NOTE, payload={}, now=now) == expected
    numbers = TraceEvent.objects.filter(trace_id=run_id).order_by("number").values_list("number", flat=True)
    assert list(numbers) == list(range(1, 12))
    assert Trace.objects.get(pk=run_id).last_number == 11


def test_a_rolled_back_event_gives_its_number_back(run_id: UUID, now: datetime) -> None:
    with transaction.atomic():
        recorder.record(run_id=run_id, kind=EventKind.NOTE, payload={}, now=now)
        transaction.set_rollback(True)
    assert recorder.record(run_id=run_id, kind=EventKind.NOTE, payload={}, now=now) == 2


def test_nested_values_and_keys_are_redacted(run_id: UUID, now: datetime) -> None:
    payload = {
        "messages": [{"content": "write to a.person@example.org"}],
        "b.person@example.org": 1,
        "json": '{"to": "c.person@example.org"}',
        "bytes": b"d.person@example.org",
    }
    text = orjson.dumps(stored(run_id, payload, now)).decode()
    assert "example.org" not in text


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("a\x00b", "a\u2400b"),
        ("a\ud800b", "a?b"),
        (10**30, str(10**30)),
        pytest.param(10**5000, "[integer of 16610 bits]", id="huge"),
        (object(), "[object]"),
        ((1, 2), [1, 2]),
        ({1: 2}, {"1": 2}),
        (None, None),
        (True, True),
    ],
)
def test_what_json_or_a_database_refuses_is_stored_as_something_plain(
    run_id: UUID, now: datetime, value: object, kept: object
) -> None:
    assert stored(run_id, {"value": value}, now) == {"value": kept}


def test_a_depth_of_a_thousand_is_cut(run_id: UUID, now: datetime) -> None:
    value: Any = "deep"
    for _ in range(1000):
        value = [{"in": value}]
    assert "nested deeper than 64 levels" in orjson.dumps(stored(run_id, {"value": value}, now)).decode()


def test_a_payload_of_64_kb_is_whole_and_a_bigger_one_is_cut_with_size_and_digest(run_id: UUID, now: datetime) -> None:
    whole = {"text": "word " * 13_000}
    assert stored(run_id, whole, now) == whole
    big = {"tool": "read_file", "text": "word " * 20_000}
    kept = stored(run_id, big, now)
    encoded = orjson.dumps(big)
    assert kept["truncated"] == {"bytes": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}
    assert kept["tool"] == "read_file"
    assert kept["text"].startswith("word word ")
    assert len(orjson.dumps(kept)) <= MAX_STORED_BYTES


@pytest.mark.parametrize(
    "payload",
    [
        {"text": "x" * 10_000_000},
        {"list": ["some text"] * 400_000},
        {"fields": {f"field {number}": number for number in range(100_000)}},
        {f"key {number}": "value" * 100 for number in range(5_000)},
        {"key" * 100_000: 1},
    ],
    ids=["text", "list", "fields", "keys", "long key"],
)
def test_ten_megabytes_are_stored_cut(run_id: UUID, now: datetime, payload: dict[str, Any]) -> None:
    kept = stored(run_id, payload, now)
    assert len(orjson.dumps(kept)) <= MAX_STORED_BYTES
    assert "truncated" in kept


def test_of_a_text_of_ten_megabytes_its_name_and_its_whole_size_are_kept(run_id: UUID, now: datetime) -> None:
    kept = stored(run_id, {"state": "succeeded", "result": {"text": "x" * 10_000_000}, "after": 1}, now)
    assert kept["state"] == "succeeded"
    assert kept["result"]["text"].endswith("x… [10000000 characters, not all kept]")


def test_a_cut_never_leaves_part_of_a_value(run_id: UUID, now: datetime) -> None:
    """The scan ends after 1 MB; a value that lies across that end must not survive in half."""
    address = "a.very.long.name.of.a.person@a-company.example.org"
    for shift in range(0, len(address), 7):
        text = ("x " * 600_000)[: 1024 * 1024 - 20 - shift] + address + " and more" * 100
        kept = stored(run_id, {"padding": "", "text": text}, now)
        assert "very.long" not in str(kept)


def test_a_failed_redaction_keeps_nothing_and_logs_the_class_only(
    run_id: UUID, cast: Cast, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    RedactionPolicy.objects.create(tenant=cast.acme, hook={"mode": "no such mode"}, version=7001)
    with caplog.at_level(logging.ERROR):
        kept = stored(run_id, {"secret": "my password is hunter2-hunter2"}, now)
    assert kept == {"payload": redactors.FAILED, "error": "ValidationError"}
    assert redaction_failures(now - timedelta(minutes=1)) == {cast.acme.pk: "ValidationError"}
    assert "ValidationError" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_new_policy_holds_with_the_next_event(run_id: UUID, cast: Cast, now: datetime) -> None:
    assert stored(run_id, {"text": "case ZX-1234"}, now) == {"text": "case ZX-1234"}
    policy = RedactionPolicy.objects.create(
        tenant=cast.acme, hook={"mode": "typed", "redact_patterns": [[r"\bZX-\d{4}\b", "[CASE]"]]}, version=7101
    )
    assert stored(run_id, {"text": "case ZX-1234"}, now) == {"text": "case [CASE]"}
    policy.hook, policy.version = {"mode": "typed"}, 7102
    policy.save()
    assert stored(run_id, {"text": "case ZX-1234"}, now) == {"text": "case ZX-1234"}
    versions = TraceEvent.objects.filter(trace_id=run_id).order_by("number").values_list("redactor_version", flat=True)
    assert [version % 1_000_000 for version in versions] == [0, 0, 7101, 7102]


def test_the_summary_collects_what_the_run_met(run_id: UUID, now: datetime) -> None:
    for tool in ("read_file", "write_file", "read_file"):
        recorder.note_summary(run_id=run_id, state="running", tool=tool, reviewer="rita", decision="approved")
    recorder.note_summary(run_id=run_id, state="succeeded", finished_at=now, input_tokens=10, cost_microdollars=5)
    head = Trace.objects.get(pk=run_id)
    assert (head.tools, head.reviewers, head.decisions) == (["read_file", "write_file"], ["rita"], ["approved"])
    assert (head.state, head.finished_at, head.input_tokens, head.cost_microdollars) == ("succeeded", now, 10, 5)


def test_a_run_without_a_trace_is_named(cast: Cast, now: datetime) -> None:  # noqa: ARG001 - opens the database
    with pytest.raises(UnknownTrace):
        recorder.record(run_id=uuid4(), kind=EventKind.NOTE, payload={}, now=now)
    with pytest.raises(UnknownTrace):
        recorder.note_summary(run_id=uuid4(), state="running", tool="x")


def test_recording_costs_three_statements_however_much_one_transaction_tells(run_id: UUID, now: datetime) -> None:
    with TestCase().assertNumQueries(3):
        recorder.record(run_id=run_id, kind=EventKind.NOTE, payload={"text": "x"}, now=now)
    with TestCase().assertNumQueries(3), gathered():
        numbers = [
            recorder.record(run_id=run_id, kind=EventKind.NOTE, payload={"text": "x"}, now=now) for _ in range(10)
        ]
        recorder.note_summary(run_id=run_id, state="running", tool="read_file")
    assert numbers == list(range(3, 13))
    assert list(TraceEvent.objects.filter(trace_id=run_id, number__gt=2).values_list("number", flat=True)) == numbers
    assert Trace.objects.get(pk=run_id).tools == ["read_file"]


def test_what_was_gathered_is_dropped_with_the_transaction(run_id: UUID, now: datetime) -> None:
    with suppress(ZeroDivisionError), transaction.atomic(), gathered():
        recorder.record(run_id=run_id, kind=EventKind.NOTE, payload={}, now=now)
        raise ZeroDivisionError
    assert recorder.record(run_id=run_id, kind=EventKind.NOTE, payload={}, now=now) == 2


@pytest.mark.django_db(transaction=True)
def test_recording_outside_a_transaction_is_refused(now: datetime) -> None:
    with pytest.raises(NoTransaction):
        recorder.record(run_id=uuid4(), kind=EventKind.NOTE, payload={}, now=now)
