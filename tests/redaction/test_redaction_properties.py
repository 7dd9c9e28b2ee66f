"""What must hold for every value, found by Hypothesis among texts made of values, near-values and the glue between."""

# ruff: noqa: RUF001  the look-alike characters are what is tested

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.redaction.samples import Samples
from traces.redaction import PIIRedactionHook
from traces.redaction.tree import Tree

samples = Samples(23)
VALUES = (
    *samples.vendor_tokens().values(),
    samples.card(),
    samples.iban(),
    samples.pem(),
    "bob@example.com",
    '"bob jones"@example.com',
    "用户@例子.中国",
    "+1 415 555 2671",
    "(415) 555-2671 x204",
    "06 12 34 56 78",
    "819-63-2335",
    "91.1.77.254",
    f"postgres://app:{samples.text(12)}@db/app",
)
NEAR = (
    *(
        "password: ",
        "password=",
        "Phone: ",
        "passport ",
        "SSN ",
        "token=",
        "Bearer ",
        "http://",
        '{"api_key": "',
        "--password ",
        "电话：",
    ),
    *(
        "@",
        "+",
        "-",
        "/",
        ":",
        "=",
        ";",
        "\\",
        "\\n",
        "\\u0040",
        '"',
        "'",
        "(",
        ")",
        "[",
        "]",
        "\n",
        "\x00",
        "\n\x00\n",
        "%40",
        "…",
        "は",
        "\ud800",
    ),
    *(
        "12",
        "4111 ",
        "555-",
        "0",
        "00",
        "1.2.3.4",
        "a::b",
        "eyJ",
        "sk-",
        "AKIA",
        "-----BEGIN ",
        "[REDACTED]",
        "[EMAIL]",
        "x" * 70,
    ),
)
pieces = st.one_of(
    st.sampled_from(VALUES), st.sampled_from(NEAR), st.text(max_size=6), st.sampled_from((" ", ", ", "\n"))
)
texts = st.lists(pieces, max_size=14).map("".join)
leaves = st.one_of(
    texts, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=12), texts.map(json.dumps)
)
names = st.one_of(texts, st.sampled_from(("password", "phone", "note", "api_key", "max_tokens", "value", "name")))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4), st.tuples(inner, inner)
    ),
    max_leaves=12,
)
REDACTORS = [
    PIIRedactionHook(redact_ips=True).compile(),
    PIIRedactionHook(mode="typed").compile(),
    PIIRedactionHook(mode="pseudonym", redact_ips=True).compile(b"k" * 32),
    PIIRedactionHook(redact_patterns=((r"[0-9]{3}-?[a-z]", "<id>"),), replacement="***").compile(),
]
redactors = st.sampled_from(REDACTORS)
quick = settings(max_examples=100, deadline=None)


@quick
@given(redactors, trees)
def test_redacting_twice_is_redacting_once_and_changes_no_argument(redactor: Any, value: Any) -> None:
    before = copy.deepcopy(value)
    once = redactor.redact(value)
    assert repr(redactor.redact(once)) == repr(once)
    assert repr(value) == repr(before)


@quick
@given(redactors, texts, st.sampled_from(VALUES), texts)
def test_a_value_that_stands_alone_on_its_line_never_leaks(redactor: Any, before: str, value: str, after: str) -> None:
    if value in before + after:
        return
    secret = max(value.replace("://", " ").split("@")[0].split(), key=len) if "://" in value else value
    if value == "91.1.77.254" and redactor not in (REDACTORS[0], REDACTORS[2]):
        return
    shown = redactor.redact({"content": [before, f"a line\n{value}\n", after]})
    assert secret not in str(shown["content"][1])


@quick
@given(redactors, texts)
def test_spans_are_ordered_and_inside_the_text(redactor: Any, text: str) -> None:
    spans = redactor.spans(text)
    ends = [0, *(span.end for span in spans)]
    assert all(end <= span.start < span.end <= len(text) for end, span in zip(ends, spans, strict=False))


@quick
@given(texts, st.lists(st.integers(1, 40), max_size=60))
def test_a_stream_leaks_no_more_than_the_whole_text(text: str, sizes: list[int]) -> None:
    redactor = REDACTORS[1]
    stream = redactor.stream()
    position, shown = 0, ""
    for size in sizes:
        shown += stream.feed(text[position : position + size])
        position += size
    shown += stream.feed(text[position:]) + stream.close()
    whole = "".join(
        text[end : span.start] + f"[{span.label}]"
        for end, span in zip([0, *(span.end for span in redactor.spans(text))], redactor.spans(text), strict=False)
    )
    rest = max((span.end for span in redactor.spans(text)), default=0)
    assert shown == whole + text[rest:]


@quick
@given(trees)
def test_the_quick_look_at_a_clean_value_misses_nothing(value: Any) -> None:
    redactor = REDACTORS[0]
    slow = Tree(redactor._replacement, redactor._rewrite_all, secrets=True, every_name=False)
    if isinstance(value, (dict, list)) and redactor._is_clean(value):
        assert repr(slow.redact(value)) == repr(value)
