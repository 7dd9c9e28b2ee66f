"""Rendering loses nothing and hides nothing, whatever the text; a diff is always one between the two texts."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.rendering import Renderer, is_hidden
from approvals.requests import hosts_of, mixes_scripts
from approvals.textdiff import FileChange, file_section
from traces.redaction import Span

TEXT = st.text(alphabet=st.characters(), max_size=200)
HOSTILE = st.text(alphabet="ab \t\n\r\u202e\u200b\u00a0⟦⟧U+[]\u0430", max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
LINE = st.sampled_from(["a\n", "b\n", "c\n", "\n", " d\n"])
LINES = st.lists(LINE, max_size=25).map("".join)
_ESCAPE = re.compile(r"⟦U\+([0-9A-F]{4,6})⟧")


class NothingToMask:
    """A redactor that finds nothing."""

    def spans(self, _text: str) -> list[Any]:
        return []

    def redact(self, value: Any) -> Any:
        return value


RENDERER = Renderer(NothingToMask(), lambda raw: raw.hex())


def decoded(segments: list[dict[str, str]]) -> str:
    """The text that segments stand for."""
    return "".join(_ESCAPE.sub(lambda match: chr(int(match[1], 16)), segment["text"]) for segment in segments)


@given(TEXT | HOSTILE)
def test_a_block_stands_for_exactly_its_text_and_shows_all_of_it(text: str) -> None:
    block = RENDERER.text(text)
    assert decoded(block.segments) == text
    shown = "".join(segment["text"] for segment in block.segments)
    assert not any(is_hidden(char) for char in shown.replace("⟦", ""))
    assert block.characters == len(text)
    assert all(segment["text"] for segment in block.segments)


@given(JSON)
def test_a_value_is_rendered_as_json_of_itself(value: Any) -> None:
    shown = RENDERER.value(value, value)
    assert json.loads(decoded(shown.segments)) == value


@settings(max_examples=200)
@given(LINES, LINES, st.booleans())
def test_a_diff_turns_one_text_into_the_other(old: str, new: str, cut: bool) -> None:  # noqa: FBT001 - a drawn value
    new = new.removesuffix("\n") if cut else new
    section = file_section(RENDERER, FileChange("a", old, new))
    before, after = old.splitlines(), new.splitlines()
    rebuilt: list[str] = []
    at = 0
    for line in section["lines"]:
        if line["op"] == "@":
            start = int(re.match(r"@@ -(\d+),(\d+)", decoded(line["segments"]))[1])  # type: ignore[index]
            count = int(re.match(r"@@ -(\d+),(\d+)", decoded(line["segments"]))[2])  # type: ignore[index]
            begin = start - 1 if count else start
            rebuilt += before[at:begin]
            at = begin
            continue
        text = decoded(line["segments"])
        if line["op"] in " -":
            assert before[at] == text
            assert line["old"] == at + 1
            at += 1
        if line["op"] in " +":
            rebuilt.append(text)
            assert line["new"] == len(rebuilt)
    assert rebuilt + before[at:] == after


@given(TEXT | HOSTILE)
def test_looking_for_lookalikes_never_fails(text: str) -> None:
    mixes_scripts(text)
    hosts_of(f"see https://{text}/ and http://{text}:99999/")


class MasksMoreThanItsSpans:
    """A redactor that masks a value for the place it stands in, which its spans of the bare text don't know."""

    def spans(self, text: str) -> list[Any]:
        return [Span(0, 4, "EMAIL")] if text.startswith("mail") else []

    def redact(self, value: Any) -> Any:
        return "[EMAIL] and [GENERIC_SECRET]" if isinstance(value, str) else value


def test_what_the_redactor_masks_beyond_its_spans_is_masked() -> None:
    block = Renderer(MasksMoreThanItsSpans(), lambda raw: raw.hex()).text("mail and swordfish")
    assert [segment.get("label", segment.get("text")) for segment in block.segments] == [
        "email",
        " and ",
        "generic secret",
    ]
