"""JSON values of any nesting: fields whose name is enough, JSON inside JSON, keys, numbers, bytes, and broken input."""

from __future__ import annotations

import copy
import datetime as dt
import json
from typing import Any, NamedTuple

import pytest

from tests.redaction.samples import Samples
from traces.redaction import PIIRedactionHook, Redactor

samples = Samples(11)
SECRET = "[GENERIC_SECRET]"


@pytest.fixture
def redactor() -> Redactor:
    return PIIRedactionHook(mode="typed").compile()


def test_a_contact_inside_lists_and_dicts_leaks_nowhere(redactor: Redactor) -> None:
    contact = {"email": "bob@example.com", "phone": "415-555-2671", "nested": {"contact": "ann@example.com"}}
    redacted = {"email": "[EMAIL]", "phone": "[PHONE]", "nested": {"contact": "[EMAIL]"}}
    assert redactor.redact(contact) == redacted
    assert redactor.redact({"messages": [contact, [contact]]}) == {"messages": [redacted, [redacted]]}


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "dbPassword",
        "DB_PASSWORD",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "authorization",
        "Cookie",
        "Set-Cookie",
        "access_token",
        "refreshToken",
        "client_secret",
        "private_key",
        "aws_secret_access_key",
        "credentials",
        "passwort",
    ],
)
@pytest.mark.parametrize("value", ["hunter2", "two words", 12345, 1.5, {"a": ["b", 3]}, ["x"], b"raw"])
def test_the_whole_value_of_a_secret_field_goes(redactor: Redactor, name: str, value: object) -> None:
    (shown,) = redactor.redact({name: value}).values()
    assert shown in {SECRET, "[AWS_SECRET]"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 4096),
        ("prompt_tokens", 12),
        ("token_count", 7),
        ("tokens", 3),
        ("token_type", "bearer"),
        ("password_policy", "long"),
        ("secret_name", "db"),
        ("primary_key", "id"),
        ("author", "Ann"),
        ("key", "value"),
        ("password", None),
        ("token", True),
        ("api_key", ""),
        ("password", "********"),
        ("api_key", "${API_KEY}"),
    ],
)
def test_fields_that_speak_about_secrets_stay(redactor: Redactor, name: str, value: object) -> None:
    assert redactor.redact({"usage": {name: value}}) == {"usage": {name: value}}


def test_pairs_of_a_name_and_a_value(redactor: Redactor) -> None:
    assert redactor.redact({"name": "Authorization", "value": "Basic Ym9i"}) == {
        "name": "Authorization",
        "value": SECRET,
    }
    assert redactor.redact([["X-Api-Key", "abcdef"], ["Accept", "text/html"]]) == [
        ["X-Api-Key", SECRET],
        ["Accept", "text/html"],
    ]
    assert redactor.redact(["mysql", "--password", "hunter2", "app"]) == ["mysql", "--password", SECRET, "app"]


def test_the_value_of_a_named_secret_goes_whole_whatever_stands_in_it(redactor: Redactor) -> None:
    assert redactor.redact({"name": "Authorization", "value": "hunter2 for ana@example.com"})["value"] == SECRET
    assert (
        redactor.redact({"key": "X-Api-Key", "value": {"id": "hunter2", "mail": "ana@example.com"}})["value"] == SECRET
    )


def test_a_private_key_in_lines_goes_with_its_last_line(redactor: Redactor) -> None:
    key = samples.pem()
    shown = redactor.redact([*key.splitlines(), "then", "ana@example.com"])
    assert not any(line in str(shown) for line in key.splitlines())
    assert shown[-2:] == ["then", "[EMAIL]"]
    begin, *body, end = key.splitlines()
    assert not any(line in str(redactor.redact([begin, *body, "cut off"])) for line in body)
    assert redactor.redact([begin, 'he said "wait"', end])[1] == 'he said "wait"'


def like_objects(odd: dict[str, Any]) -> list[dict[str, Any]]:
    """Objects of one form, with one among them in which something stands that the others do not have."""
    usual = [
        {"role": "user", "content": f"text {n}", "count": n, "usage": {"seconds": 1.5, "kind": "fast"}}
        for n in range(40)
    ]
    return [*usual[:30], {**usual[30], **odd}, *usual[31:]]


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        ({"content": "bob@example.com"}, {"content": "[EMAIL]"}),
        ({"content": '["bob@example.com"]'}, {"content": '["[EMAIL]"]'}),
        ({"role": "bob@example.com"}, {"role": "[EMAIL]"}),
        ({"role": "pwd:12x45y"}, {"role": "pwd:[GENERIC_SECRET]"}),
        ({"count": 4012888888881881}, {"count": "[CREDIT_CARD]"}),
        ({"count": "bob@example.com"}, {"count": "[EMAIL]"}),
        ({"count": -4012888888881881}, {"count": "[CREDIT_CARD]"}),
        ({"usage": {"seconds": 1.5, "mail": "bob@example.com"}}, {"usage": {"seconds": 1.5, "mail": "[EMAIL]"}}),
        ({"usage": {"seconds": 1.5, "kind": "a@b.example"}}, {"usage": {"seconds": 1.5, "kind": "[EMAIL]"}}),
        ({"usage": {"seconds": 1, "password": 1234}}, {"usage": {"seconds": 1, "password": SECRET}}),
        ({"usage": {"kind": {"mail": "bob@example.com"}}}, {"usage": {"kind": {"mail": "[EMAIL]"}}}),
        ({"usage": ["bob@example.com"]}, {"usage": ["[EMAIL]"]}),
        ({"usage": None, "mail": "bob@example.com"}, {"usage": None, "mail": "[EMAIL]"}),
        ({"pin_code": 7, "name": "password", "value": 7}, {"pin_code": 7, "name": "password", "value": SECRET}),
    ],
)
def test_one_object_among_many_like_ones_is_not_passed_over(
    redactor: Redactor, odd: dict[str, Any], shown: dict[str, Any]
) -> None:
    assert redactor.redact(like_objects(odd)) == like_objects(shown)


def test_objects_of_as_many_but_other_names_are_not_taken_for_like_ones(redactor: Redactor) -> None:
    rows: list[dict[str, Any]] = [{"role": None, "count": n} for n in range(40)]
    rows[20] = {"mail": "bob@example.com", "count": 20}
    assert redactor.redact(rows)[20] == {"mail": "[EMAIL]", "count": 20}


def test_json_inside_json_is_opened_and_stays_json(redactor: Redactor) -> None:
    inner = json.dumps({"to": "bob@example.com", "password": 12345, "note": 'say "hi"\n'})
    middle = json.dumps({"arguments": inner})
    outer = redactor.redact({"tool": middle})
    shown = json.loads(json.loads(outer["tool"])["arguments"])
    assert shown == {"to": "[EMAIL]", "password": SECRET, "note": 'say "hi"\n'}
    assert redactor.redact(inner) == json.dumps({"to": "[EMAIL]", "password": SECRET, "note": 'say "hi"\n'})


def test_clean_json_text_is_returned_as_it_was(redactor: Redactor) -> None:
    text = '{ "a":1.0, "b" : [1e3,  12345678901234567890123] }'
    assert redactor.redact(text) == text


def test_a_field_name_is_the_context_of_its_value(redactor: Redactor) -> None:
    value = {
        "mobileNumber": 4155552671,
        "passportNo": "CR8828104",
        "ssn": 819632335,
        "phones": ["98460294741"],
        "n": 4155552671,
    }
    assert redactor.redact(value) == {
        "mobileNumber": "[PHONE]",
        "passportNo": "[PASSPORT]",
        "ssn": "[US_SSN]",
        "phones": ["[PHONE]"],
        "n": 4155552671,
    }


def test_integers_are_tested_and_floats_are_not(redactor: Redactor) -> None:
    card = int(samples.card())
    assert redactor.redact([card, float(card), 1655341338917, 10**5000]) == [
        "[CREDIT_CARD]",
        float(card),
        1655341338917,
        SECRET,
    ]


def test_two_keys_never_become_one(redactor: Redactor) -> None:
    value = {"bob@example.com": 1, "ann@example.com": 2, "[EMAIL]": 3, 4155552671: 4, b"eve@example.com": 5}
    redacted = redactor.redact(value)
    assert list(redacted.values()) == [1, 2, 3, 4, 5]
    assert set(redacted) == {"[EMAIL] (2)", "[EMAIL] (3)", "[EMAIL]", 4155552671, "[EMAIL] (4)"}
    assert redactor.redact(redacted) == redacted


class Row(NamedTuple):
    name: str
    mail: str


def test_other_containers_keep_their_kind(redactor: Redactor) -> None:
    mail = "bob@example.com"
    assert redactor.redact((mail, 1)) == ("[EMAIL]", 1)
    assert redactor.redact(Row("Bob", mail)) == Row("Bob", "[EMAIL]")
    assert redactor.redact({mail}) == {"[EMAIL]"}
    assert redactor.redact(frozenset({mail})) == frozenset({"[EMAIL]"})
    assert redactor.redact(b"to " + mail.encode() + b"\xff") == b"to [EMAIL]\xff"
    assert redactor.redact([bytearray(mail.encode())]) == [b"[EMAIL]"]
    assert redactor.redact(dt.date(2026, 1, 1)) == dt.date(2026, 1, 1)
    assert redactor.redact(ValueError(f"no user {mail}")) == "no user [EMAIL]"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError(samples.text(20))


def test_what_cannot_be_read_is_replaced_not_shown(redactor: Redactor) -> None:
    cycle: dict[str, Any] = {"mail": "bob@example.com"}
    cycle["self"] = [cycle]
    assert redactor.redact(cycle) == {"mail": "[EMAIL]", "self": [SECRET]}
    deep: Any = "bob@example.com"
    for _ in range(1000):
        deep = [deep]
    assert "bob" not in str(redactor.redact(deep))
    nested = '"bob@example.com"'
    for _ in range(12):
        nested = json.dumps([nested])
    assert "bob" not in redactor.redact(nested)
    assert redactor.redact([Unprintable()]) == [SECRET]


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), None, True, "", b"", [], {}, "\ud800", b"\xff\xfe", "\x00", '{"a":', "[" * 5000],
)
def test_odd_values_survive(redactor: Redactor, value: object) -> None:
    assert repr(redactor.redact([value])) == repr([value])


def test_lone_surrogates_and_nul_hide_nothing(redactor: Redactor) -> None:
    assert redactor.redact("\ud800 bob@example.com\x00ann@example.com") == "\ud800 [EMAIL]\x00[EMAIL]"
    assert redactor.redact(["a\n\x00\nbob@example.com", "ann@example.com"]) == ["a\n\x00\n[EMAIL]", "[EMAIL]"]


def test_the_argument_is_never_changed(redactor: Redactor) -> None:
    value = {"a": ["bob@example.com", {"password": [1, 2]}], "bob@example.com": {"b": ("415-555-2671",)}}
    before = copy.deepcopy(value)
    redactor.redact(value)
    assert value == before
