"""2,000 planted values go through whole runs, every way in; no table, page or log line has one of them in clear."""

from __future__ import annotations

import base64
import html
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import re2
from django.apps import apps
from django.core.management import call_command
from django.db import connection, models, transaction
from django.test import Client

from agents.errors import ModelRefused
from agents.models import Run
from agents.providers import PROVIDERS
from agents.providers.protocol import Completion, ModelRequest, ProposedCall
from agents.states import RUN_FINISHED, RunState
from approvals.models import ApprovalGate
from routekit_site.tenancy.clock import database_now
from routekit_site.tenancy.models import User
from tests.runs.conftest import Bench
from traces.models import EncryptionPolicy
from traces.pasted_secrets import holds_secret

VALUES = 2000
SHARE = 18


def card() -> str:
    """A number that passes Luhn's check."""
    digits = [4, *(secrets.randbelow(10) for _ in range(14))]
    total = sum(sum(divmod(2 * digit, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits))
    return "".join(map(str, [*digits, -total % 10]))


def planted() -> Iterator[str]:
    """Values of four kinds, made anew in each run."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    for _ in range(VALUES // 8):
        word = secrets.token_hex(4)
        yield f"{word}.person@mail-{word}.example.org"
        yield f"anna+{word}@example.com"
        yield f"+49 30 {secrets.randbelow(9_000_000) + 1_000_000}"
        yield f"+1 212 555 {secrets.randbelow(9000) + 1000}"
        yield card()
        yield card()
        yield "ghp_" + secrets.token_hex(18)
        yield "AKIA" + "".join(secrets.choice(alphabet) for _ in range(16))


@dataclass
class Source:
    """Hands out the values, a share at a time."""

    left: list[str]
    given: list[str] = field(default_factory=list)

    def share(self) -> list[str]:
        found, self.left = self.left[:SHARE], self.left[SHARE:]
        self.given += found
        return found or self.given[-SHARE:]

    def text(self) -> str:
        """A share in prose."""
        return _prose(self.share())

    def typed(self) -> str:
        """A share in prose and one in JSON, of what a person may type: keys are left for the model to write."""
        taken = [value for value in self.left if not holds_secret(value)][: 2 * SHARE]
        self.left = [value for value in self.left if value not in taken]
        self.given += taken
        return f"Do this. {_prose(taken[:SHARE])}\n{_nested(taken[SHARE:])}"

    def nested(self) -> str:
        """A share in JSON in JSON."""
        return _nested(self.share())


def _nested(values: list[str]) -> str:
    return json.dumps({"outer": json.dumps({"inner": [{"value": value} for value in values]})})


def _prose(values: list[str]) -> str:
    return ". ".join(f"Please use {value} for this" for value in values)


class Talkative:
    """A model whose answers are full of values: in texts, in arguments, in broken arguments, in its last word."""

    def __init__(self, source: Source, folder: Any, *, ends: str) -> None:
        self.source, self.folder, self.ends, self.step = source, folder, ends, 0

    def complete(self, request: ModelRequest, *, stop: Callable[[], bool]) -> Completion:
        assert not stop()
        assert request.messages
        self.step += 1
        if self.step == 1:
            return Completion(self.source.text(), self.calls(), "tool_calls", 10, 10)
        if self.ends == "refusal":
            raise ModelRefused(f"The server said: {self.source.text()}")
        if self.ends == "crash":
            raise RuntimeError(self.source.nested())
        return Completion(f"{self.source.text()}\n{self.source.nested()}", (), self.ends, 10, 10)

    def calls(self) -> tuple[ProposedCall, ...]:
        file = f"{secrets.token_hex(3)}.txt"
        (self.folder / file).write_text(f"{self.source.text()}\n{self.source.nested()}")
        name = self.source.share()[0]
        arguments = [
            ("write_file", json.dumps({"path": f"out-{file}", "text": self.source.text()})),
            ("write_file", json.dumps({"path": f"json-{file}", "text": self.source.nested()})),
            ("read_file", json.dumps({"path": file})),
            ("read_file", json.dumps({"path": f"about {name} here.txt"})),
            ("read_file", json.dumps({"path": f"{name}.txt"})),
            ("calculator", json.dumps({"expression": self.source.share()[0]})),
            ("calculator", json.dumps({"expression": "1", "note": self.source.share()})),
            ("read_file", '{"path": "' + self.source.text()),
            ("teleport", json.dumps({"to": self.source.share()})),
            ("http_request", json.dumps({"url": f"http://127.0.0.1:9/?q={name}", "headers": {"X-Who": name}})),
        ]
        return tuple(ProposedCall(f"call_{n}", tool, text) for n, (tool, text) in enumerate(arguments))


def finished(bench: Bench, run: Run, *, reason: str) -> Run:
    """The run, with each gate decided in turn, every third one rejected with a reason that holds values."""
    for number in range(60):
        # A run that rests after a crash needn't be waited for.
        Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(wake_at=database_now())
        run = bench.advance(run)
        if run.state in RUN_FINISHED:
            return run
        for place, gate in enumerate(bench.gates(run)):
            bench.decide(gate, "reject" if (number + place) % 3 == 2 else "approve", reason)
    raise AssertionError(run.state)


def stored() -> Iterator[tuple[str, str]]:
    """Every column of every table, with its place; bytes as Latin-1, so that text in them is found."""
    for model in apps.get_models(include_auto_created=True):
        names = [column.attname for column in model._meta.concrete_fields]
        with connection.cursor() as cursor:
            columns = ", ".join(f'"{column.column}"' for column in model._meta.concrete_fields)
            cursor.execute(f'SELECT {columns} FROM "{model._meta.db_table}"')
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    yield f"{model.__name__}.{name}", _as_text(value)


def _as_text(value: object) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, memoryview)) else str(value)


def pages() -> Iterator[str]:
    """Every page and data address that holds something of a run."""
    gates = list(ApprovalGate.objects.values_list("pk", flat=True))
    runs = list(Run.objects.values_list("pk", flat=True))
    yield from ("/jobs/", "/jobs/new/", "/queue/", "/admin/traces/ledgerentry/", "/admin/traces/trace/")
    yield from (f"/queue/{gate}/" for gate in gates[:20])
    for run in runs:
        yield from (f"/runs/{run}/", f"/runs/{run}.json", f"/runs/{run}/replay/", f"/admin/traces/trace/{run}/change/")
        yield from (f"/admin/traces/trace/{run}/export/", f"/admin/traces/trace/{run}/export/?format=otlp")
    yield f"/admin/traces/trace/{runs[0]}/compare/?with={runs[1]}"


def found_in(values: Any, text: str) -> list[str]:
    """The planted values that a text holds, escaped for HTML or not."""
    return [match.group() for match in values.finditer(text)] + [
        m.group() for m in values.finditer(html.unescape(text))
    ]


def matcher(values: list[str]) -> Any:
    options = re2.Options()
    options.max_mem = 1 << 28
    options.literal = False
    return re2.compile("|".join(re2.escape(value) for value in values), options)


@pytest.fixture
def source() -> Source:
    """2,000 values."""
    return Source(list(planted()))


def submit_all(bench: Bench, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs until every value was used: succeeded, cut, withheld, refused, crashed, cancelled; one tenant-encrypted."""
    for ends in ("stop", "length", "content_filter", "refusal", "crash", "stop", "cancel", "stop"):
        monkeypatch.setitem(PROVIDERS, "scripted", Talkative(source, bench.folder, ends=ends))
        EncryptionPolicy.objects.update_or_create(tenant=bench.cast.acme, defaults={"encrypt_traces": ends == "length"})
        run = bench.submit(source.typed())
        if ends == "cancel":
            assert bench.cancel(bench.advance(run)).state in {RunState.CANCELLED, RunState.WAITING}
            continue
        finished(bench, run, reason=source.typed())


def test_no_table_page_or_log_line_has_a_planted_value(  # noqa: PLR0917 - one argument a fixture
    bench: Bench,
    source: Source,
    client_of: Callable[[User], Client],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submit_all(bench, source, monkeypatch)
    assert not source.left, f"{len(source.left)} values were never used"
    values = matcher(source.given)
    leaks = [(place, leak) for place, text in stored() for leak in found_in(values, text)]
    assert leaks == []
    sealed = "".join(text for place, text in stored() if place.endswith("_sealed"))
    assert sealed
    assert not any(base64.b64encode(value.encode()).decode().rstrip("=") in sealed for value in source.given[:50])
    for person in (bench.cast.adam, bench.cast.alice, bench.cast.rita):
        client = client_of(person)
        for page in pages():
            if person != bench.cast.adam and page.startswith("/admin/"):
                continue
            answer = client.get(page)
            assert answer.status_code < 500, (page, answer.status_code)
            assert found_in(values, answer.content.decode()) == [], (person, page)
    call_command("verify_ledger")
    said = capsys.readouterr()
    assert found_in(values, caplog.text + said.out + said.err) == []


def test_the_scan_finds_what_is_there(bench: Bench, source: Source) -> None:
    """The search itself, on a value that stands in a column."""
    value = source.share()[0]
    with transaction.atomic():
        Run.objects.filter(pk=bench.submit("hello").pk).update(
            prompt_redacted=f"use {value}", prompt_sealed=value.encode()
        )
    places = {place for place, text in stored() if found_in(matcher(source.given), text)}
    assert places == {"Run.prompt_redacted", "Run.prompt_sealed"}
    assert isinstance(Run._meta.get_field("prompt_sealed"), models.BinaryField)
