"""No value that redaction knows is in any table of this floor, whatever way it came in."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import connection

from routekit_site.tenancy.templatetags.screens import shown
from tests.fixtures.cast import Cast
from traces import ledger, recorder
from traces.errors import ContentInFeed
from traces.kinds import EventKind, FeedTopic, LedgerKind
from traces.live import announce
from traces.redaction import TYPED_TOKEN, Label


def planted() -> Iterator[str]:
    """Values of many kinds, made anew in each run."""
    for _ in range(20):
        word = secrets.token_hex(4)
        yield f"{word}.person@mail-{word}.example.org"
        yield f"+49 30 {secrets.randbelow(9_000_000) + 1_000_000}"
        yield "sk-" + "proj-" + secrets.token_urlsafe(36).replace("_", "a").replace("-", "b")
        yield "ghp_" + secrets.token_hex(18)
        yield "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
        yield card()


def card() -> str:
    """A number that passes Luhn's check."""
    digits = [4, *(secrets.randbelow(10) for _ in range(14))]
    total = sum(sum(divmod(2 * digit, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits))
    return "".join(map(str, [*digits, -total % 10]))


def ways(value: str) -> dict[str, Any]:
    """A value in the shapes in which it may reach a payload."""
    return {
        "text": f"please use {value} today",
        "nested": {"a": [{"b": [value]}]},
        "json": json.dumps({"inner": json.dumps({"value": value})}),
        "bytes": f"raw {value}".encode(),
        "messages": [{"role": "user", "content": value}],
        "error": repr(ValueError(f"cannot use {value}")),
        "long": "x " * 40_000 + value,
        f"key {value}": 1,
    }


def all_bytes() -> str:
    """Every column of every table, as text."""
    parts: list[str] = []
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            parts += [str(value) for row in cursor.fetchall() for value in row]
    return "\n".join(parts)


def test_a_search_of_every_table_finds_none_of_the_planted_values(
    cast: Cast, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    values = list(planted())
    kinds = list(EventKind)
    for number, value in enumerate(values):
        run = uuid4()
        recorder.open_trace(
            tenant_id=cast.acme.pk,
            run_id=run,
            agent_name="Files",
            submitter_id=cast.alice.pk,
            prompt=f"write to {value}, then stop",
            now=now,
        )
        recorder.record(run_id=run, kind=kinds[number % len(kinds)], payload=ways(value), now=now)
        facts = {"reason": f"because of {value}", "more": [value]}
        ledger.append(tenant_id=cast.acme.pk, kind=LedgerKind.DECISION, actor="rita", facts=facts, now=now)
        with pytest.raises(ContentInFeed):
            announce(tenant_id=cast.acme.pk, topic=FeedTopic.RUN, subject_id="r", facts={"all": ways(value)}, now=now)
    stored = all_bytes() + caplog.text
    assert [value for value in values if value in stored] == []
    assert len(TYPED_TOKEN.findall(stored)) > len(values)


@pytest.mark.parametrize("label", list(Label))
def test_pages_show_each_typed_token_as_a_chip(label: Label) -> None:
    for token in (f"[{label}]", f"[{label}:abcdefghij234567]"):
        assert TYPED_TOKEN.fullmatch(token)
        assert '<span class="chip"' in shown(f"a {token} b")
        assert f"redacted: {label.replace('_', ' ').lower()}" in shown(token)
