"""Documents inside texts: what only the name of a field makes a secret is one there, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from traces.redaction import PIIRedactionHook, Redactor

WORDS = "some quiet horse"  # no rule knows it by its form
DOCUMENTS: dict[str, Any] = {
    "password": {"password": WORDS, "id": 7},
    "apart": {"api_key": "abcdefghijkl", "items": [1, 2]},
    "number": {"otp": 482_913},
    "nested": {"config": {"credentials": {"user": "bob", "word": WORDS}}},
    "pair": {"name": "DB_PASSWORD", "value": WORDS},
    "turned pair": {"value": WORDS, "name": "DB_PASSWORD"},
    "capital pair": {"Name": "DB_PASSWORD", "Value": WORDS},
    "command": {"args": ["--password", WORDS]},
    "header": [["Authorization", WORDS]],
}
PLACES: dict[str, Callable[[str], Any]] = {
    "text": lambda text: text,
    "field": lambda text: {"body": text},
    "list": lambda text: [text, "more"],
    "messages": lambda text: {"messages": [{"role": "user", "content": text}] * 20},
    "field of a document": lambda text: {"body": json.dumps({"inner": text})},
    "bytes": lambda text: {"body": text.encode()},
}
WRITTEN: dict[str, Callable[[Any], str]] = {
    "compact": lambda value: json.dumps(value, separators=(",", ":")),
    "usual": json.dumps,
    "indented": lambda value: json.dumps(value, indent=2),
    "wide": lambda value: json.dumps(value, separators=(" , ", " :\n")),
    "line": lambda value: json.dumps(value) + "\n",
    "lines": lambda value: f"\r\n {json.dumps(value)}\r\n\r\n",
    "marked": lambda value: "\ufeff" + json.dumps(value),
    "escaped": lambda value: json.dumps(value).replace("a", "\\u0061").replace("t", "\\u0074"),
}


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return PIIRedactionHook(mode="typed").compile()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_named_secret_goes_wherever_its_document_stands(
    redactor: Redactor, name: str, written: str, place: str
) -> None:
    text = str(redactor.redact(PLACES[place](WRITTEN[written](DOCUMENTS[name]))))
    assert [secret for secret in ("quiet", "abcdefghijkl", "482913") if secret in text] == []
    assert "[GENERIC_SECRET]" in text


@pytest.mark.parametrize("written", WRITTEN)
def test_a_document_keeps_what_stands_around_it(redactor: Redactor, written: str) -> None:
    text = WRITTEN[written](DOCUMENTS["password"])
    redacted = redactor.redact(text)
    before, after = text[: text.index("{")], text[text.rindex("}") + 1 :]
    assert redacted.startswith(before + "{")
    assert redacted.endswith("}" + after)
    assert json.loads(redacted.strip("\ufeff")) == {"password": "[GENERIC_SECRET]", "id": 7}
    assert redactor.redact(redacted) == redacted


@pytest.mark.parametrize("written", WRITTEN)
def test_a_document_without_a_secret_stays_as_it_is(redactor: Redactor, written: str) -> None:
    text = WRITTEN[written]({"max_tokens": 400, "password_policy": "twelve characters", "name": "Horse"})
    assert redactor.redact({"body": text}) == {"body": text}
    assert redactor.redact(text) == text


@pytest.mark.parametrize(
    "around",
    [
        "%s\n%s\n",
        "data: %s\n\n",
        "```json\n%s\n```",
        "HTTP/1.1 200 OK\nContent-Type: application/json\n\n%s",
        "The settings are %s, said the server.",
    ],
)
@pytest.mark.parametrize("form", [json.dumps, repr])
def test_a_pass_phrase_in_a_document_among_other_text_goes(
    redactor: Redactor, around: str, form: Callable[[Any], str]
) -> None:
    text = around.replace("%s", form({"db_password": WORDS, "port": 5432}))
    assert "quiet" not in redactor.redact(text)
    assert "quiet" not in redactor.redact(text[: text.rindex("5432")])
    assert redactor.redact({"text": text})["text"] == redactor.redact(text)


def test_a_pass_phrase_with_quotes_inside_goes_whole(redactor: Redactor) -> None:
    text = "Here: " + json.dumps({"password": 'some "quiet" brown horse'})
    assert redactor.redact(text) == 'Here: {"password": "[GENERIC_SECRET]"}'


@pytest.mark.parametrize(
    "text",
    [
        'labels = {"password": "Your password", "name": "Your name"}',
        'errors = {"password": "This field is required."}',
        '{"forgot_password": "Forgot your password?"} and so on',
        'x = {"password": None, "token": ""} # none yet',
        '{"password_policy": "twelve characters or more"} holds',
    ],
)
def test_labels_and_messages_about_passwords_stay(redactor: Redactor, text: str) -> None:
    assert redactor.redact(text) == text
