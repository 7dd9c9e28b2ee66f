"""A scanner's worth of bad requests at every address: no 500, no leak, no slow query. The socket's are in tests/traces.

`make test` runs a few hundred; `make test-fuzz` runs thousands. Hypothesis prints the request that fails.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import Agent, Run
from routekit_site.tenancy import slow_queries
from routekit_site.tenancy.models import User
from tests.fixtures.addresses import every_address
from tests.fixtures.cast import Cast
from tests.fixtures.gates import House
from traces.consumers import _number, _parsed

ClientOf = Callable[[User], Client]

NASTY = [
    "",
    "\x00",
    "a\x00b",
    "'",
    '" OR 1=1 --',
    "<script>alert(1)</script>",
    "{{7*7}}",
    "{% debug %}",
    "../../../../etc/passwd",
    "%00",
    "%c0%ae%c0%ae/",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin1"),
    "\u202e",
    "9" * 400,
    "-1",
    "1e999",
    "NaN",
    "null",
    "[" * 3000,
    '{"a":' * 3000,
    "2" * 5000,
    "x" * 20_000,
    "true",
    "[]",
    "{}",
    '[{"pointer": "/x", "kind": "range", "value": [NaN, 1]}]',
    "https://evil.example/",
    "0001-01-01",
    "9999-99-99",
    "__all__",
    "id__gt",
]
FIELDS = [
    *("next", "username", "password", "q", "page", "limit", "id", "risk", "state", "agent", "mine", "part", "tenant"),
    *("kind", "digest", "view_digest", "idempotency_key", "reason", "confirm", "prompt", "carried", "by", "code"),
    *("credential", "name", "seen_version", "constraints", "sandbox", "tool_filter", "tool", "mode", "reach", "scope"),
    *("hours", "max_uses", "action", "_selected_action", "_preview", "_popup", "_to_field", "e", "o", "p", "all", "q"),
    *("content", "replace", "test_arguments", "patterns", "sample", "other", "after", "before", "tenant__id__exact"),
    *("argument-path", "is_superuser", "role", "user", "tenant_id", "old_password", "new_password1", "new_password2"),
    *("app_label", "model_name", "field_name", "term", "format", "url", "events", "description", "account", "process"),
]
TYPES = [
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-16",
    "application/x-www-form-urlencoded; charset=nonsense",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + "y" * 300,
    "application/json",
    "text/xml",
    "\x00",
    "",
]
METHODS = ["GET", "POST", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get"]
LEAKS = (b"Traceback (most recent", b"django.db", b"site-packages", b"DJANGO_SETTINGS", b"psycopg", b"OperationalError")

texts = st.sampled_from(NASTY) | st.text(max_size=40)
pairs = st.lists(st.tuples(st.sampled_from(FIELDS), texts), max_size=8)
bodies = st.binary(max_size=300) | st.sampled_from([b"--x\r\n\r\n", b"--x--", b"\xff\xfe", b"&" * 3000, b"=" * 100])
quick = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
thorough = settings(quick, max_examples=6000)


@pytest.fixture
def paths(house: House, agent: Agent, submit: Callable[..., Run]) -> list[str]:
    """Every address, with acme's ids and with nonsense."""
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    gate, run = house.open().gate, submit()
    good = {"gate_id": str(gate.pk), "run_id": str(run.pk), "agents/agent": str(agent.pk), "traces/trace": str(run.pk)}
    common = {
        "object_id": str(house.cast.acme.pk),
        "pk": "1",
        "token": "x",
        "provider_id": "oidc",
        "content_type_id": "1",
    }
    odd = dict.fromkeys((*good, *common), "0" * 40)
    more = {"object_id": "_0A_00%00'", "token": "eyJ.x:y:z", "pk": "99999999999999999999", "kind": "x"}
    found = [a.path for ids in (good | common | {"kind": "x"}, odd | more) for a in every_address(ids)]
    return [path for path in found if path not in {"/sign-out/", "/admin/logout/", "/readyz"}]


def check(client: Client, method: str, path: str, query: str, **sent: Any) -> None:
    """One request: whatever it is, the answer is no error of ours, tells nothing, and no query of it is slow.

    On a busy machine anything may take a second once. What is slow three times in a row is slow by itself.
    """
    for _ in range(3):
        before = slow_queries.count()
        answer = client.generic(method, path, QUERY_STRING=query, **sent)
        text = answer.getvalue()
        assert answer.status_code < 500, text[:300]
        assert not any(leak in text for leak in LEAKS)
        if slow_queries.count() == before:
            return
    raise AssertionError("a query takes longer than a second, three times in a row")


def attack(client_of: ClientOf, cast: Cast, paths: list[str], data: st.DataObject) -> None:
    """One drawn request of one drawn person."""
    person = data.draw(st.sampled_from([cast.adam, cast.rita, cast.alice, None]), label="person")
    client = Client() if person is None else client_of(person)
    client.raise_request_exception = False
    path, method = data.draw(st.sampled_from(paths), label="path"), data.draw(st.sampled_from(METHODS), label="method")
    query = _encoded(data.draw(pairs, label="query"))
    kind = data.draw(st.sampled_from(TYPES), label="type")
    form = data.draw(st.booleans(), label="form")
    body = _encoded(data.draw(pairs, label="form fields")).encode() if form else data.draw(bodies, label="body")
    headers = {"accept": data.draw(st.sampled_from(["text/html", "application/json", "x", "*/*;q=x"]), label="accept")}
    check(client, method, path, query, data=body, content_type=TYPES[0] if form else kind, headers=headers)


def _encoded(drawn: list[tuple[str, str]]) -> str:
    from urllib.parse import quote_plus  # noqa: PLC0415 - used here only

    return "&".join(f"{quote_plus(name)}={quote_plus(value, errors='replace')}" for name, value in drawn)


@quick
@given(data=st.data())
def test_bad_requests(client_of: ClientOf, cast: Cast, paths: list[str], data: st.DataObject) -> None:
    attack(client_of, cast, paths, data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@thorough
@given(data=st.data())
def test_thousands_of_bad_requests(client_of: ClientOf, cast: Cast, paths: list[str], data: st.DataObject) -> None:
    attack(client_of, cast, paths, data)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_form_takes_each_nasty_value(client_of: ClientOf, cast: Cast, paths: list[str]) -> None:
    client = client_of(cast.adam)
    client.raise_request_exception = False
    for path in paths:
        for value in ("\x00", "[" * 3000, "9" * 400, "\ud800"):
            query = _encoded([(name, value) for name in FIELDS])
            check(client, "GET", path, query)
            check(client, "POST", path, "", data=query.encode(), content_type=TYPES[0])


@settings(max_examples=300, deadline=None, database=None)
@given(text=st.text(max_size=1200) | st.sampled_from(NASTY) | st.builds(json.dumps, st.dictionaries(st.text(), texts)))
def test_what_a_socket_hears_is_an_object_or_nothing(text: str) -> None:
    parsed = _parsed(text)
    assert parsed is None or isinstance(parsed, dict)
    number = _number(text)
    assert number is None or 0 <= number < 2**63
