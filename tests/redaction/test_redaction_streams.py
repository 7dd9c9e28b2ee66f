"""A text that arrives in chunks is redacted as the whole text is, however it is cut."""

from __future__ import annotations

import random

import pytest

from tests.redaction.samples import Samples
from traces.redaction import PIIRedactionHook, Redactor
from traces.redaction.streams import HOLD_BACK, MAX_HELD

samples = Samples(5)


@pytest.fixture
def redactor() -> Redactor:
    return PIIRedactionHook(mode="typed").compile()


@pytest.fixture
def text() -> str:
    values = [
        *samples.vendor_tokens().values(),
        samples.card(),
        samples.iban(),
        "bob@example.com",
        "+1 415 555 2671",
        samples.pem(),
    ]
    return "\n".join(
        f"line {index}: the value {value} was seen in the log of the tool" for index, value in enumerate(values)
    )


def in_chunks(redactor: Redactor, text: str, sizes: list[int]) -> str:
    stream = redactor.stream()
    shown, position = [], 0
    for size in sizes:
        shown.append(stream.feed(text[position : position + size]))
        position += size
    shown += [stream.feed(text[position:]), stream.close()]
    return "".join(shown)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 64, 255, 256, 257, 1000])
def test_every_chunk_size_gives_the_whole_text(redactor: Redactor, text: str, size: int) -> None:
    assert in_chunks(redactor, text, [size] * (len(text) // size)) == redactor.redact(text)


def test_random_cuts_give_the_whole_text(redactor: Redactor, text: str) -> None:
    cuts = random.Random(3)  # noqa: S311  test data
    for _ in range(20):
        assert in_chunks(redactor, text, [cuts.randint(0, 90) for _ in range(200)]) == redactor.redact(text)


def test_a_text_is_given_out_before_it_ends(redactor: Redactor) -> None:
    stream = redactor.stream()
    shown = stream.feed("the agent wrote its report " * 40)
    assert shown
    assert len(shown) >= 27 * 40 - 2 * HOLD_BACK


def test_an_open_private_key_is_held_until_it_is_closed(redactor: Redactor) -> None:
    key = samples.pem()
    stream = redactor.stream()
    shown = stream.feed("before " * 60 + key[:500])
    assert "BEGIN" not in shown
    assert samples.text(10) not in shown
    shown += stream.feed(key[500:]) + stream.feed(" after" * 60) + stream.close()
    assert shown == "before " * 60 + "[PRIVATE_KEY]" + " after" * 60


def test_a_span_without_end_is_given_up_closed(redactor: Redactor) -> None:
    stream = redactor.stream()
    begin = samples.pem().splitlines()[0]
    line = samples.text(64) + "\n"
    shown = stream.feed(begin + "\n")
    for _ in range(3 * MAX_HELD // len(line) // 1000):
        shown += stream.feed(line * 1000)
    shown += stream.close()
    assert line not in shown
    assert set(shown.replace("[PRIVATE_KEY]", "")) <= {"\n"}


def test_a_stream_can_be_used_again(redactor: Redactor) -> None:
    stream = redactor.stream()
    assert stream.feed("to bob@example.com") + stream.close() == "to [EMAIL]"
    assert stream.feed("to ann@example.com") + stream.close() == "to [EMAIL]"
    assert stream.close() == ""
