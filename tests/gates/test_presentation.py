"""What a reviewer sees: all of the call, redacted, with nothing hidden in it, in a shape that is JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from approvals.binding import view_digest_of
from approvals.effects import Reversibility, ToolPermission
from approvals.errors import NotPresentable
from approvals.presentation import (
    FileChange,
    HttpCall,
    Presentation,
    PresentationContext,
    Step,
    present,
)
from approvals.rendering import RENDERING, Renderer
from routekit_site.tenancy.encryption import fingerprint
from tests.fixtures.cast import Cast
from tests.fixtures.gates import WRITE_FILE, verdict
from traces import redactors

HTTP = replace(
    WRITE_FILE,
    name="http_request",
    permissions=frozenset({ToolPermission.NETWORK}),
    reversibility=Reversibility.IRREVERSIBLE,
)


def shown(cast: Cast, arguments: Mapping[str, Any], **context: Any) -> Presentation:
    manifest = context.pop("manifest", WRITE_FILE)
    sentence = context.pop("sentence", "Write a file")
    return present(
        tenant_id=cast.acme.pk,
        tool=manifest.name,
        sentence=sentence,
        arguments=arguments,
        manifest=manifest,
        context=PresentationContext(
            verdict=context.pop("verdict", verdict()),
            submitter_id=cast.alice.pk,
            submitter_name="Alice Example",
            agent_name="Files and web",
            agent_version=3,
            **context,
        ),
    )


def read(block: Mapping[str, Any]) -> str:
    """A block as a page would show it."""
    return "".join(
        f"[redacted: {segment['label']}]" if segment["kind"] == "chip" else segment["text"]
        for segment in block["segments"]
    )


def argument(view: Presentation, name: str) -> dict[str, Any]:
    (found,) = (item for item in view.data["arguments"] if item["name"] == name)
    return dict(found)


def warned(view: Presentation) -> list[str]:
    return [warning["kind"] for warning in view.data["warnings"]]


def test_300_lines_and_a_megabyte_are_shown_to_the_last_character(cast: Cast) -> None:
    lines = "\n".join(f"line {number}" for number in range(300))
    big = "0123456789abcde\n" * 62_500
    view = shown(cast, {"path": "a.txt", "text": lines, "big": big})
    assert read(argument(view, "text")["block"]) == lines
    assert read(argument(view, "big")["block"]) == big
    assert argument(view, "big")["block"]["characters"] == 1_000_000
    assert argument(view, "text")["block"]["lines"] == 300
    assert "large" in warned(view)


@pytest.mark.parametrize(
    ("hidden", "code", "name"),
    [
        ("\u202e", "U+202E", "RIGHT-TO-LEFT OVERRIDE"),
        ("\u2066", "U+2066", "LEFT-TO-RIGHT ISOLATE"),
        ("\u200b", "U+200B", "ZERO WIDTH SPACE"),
        ("\u00ad", "U+00AD", "SOFT HYPHEN"),
        ("\ufeff", "U+FEFF", "ZERO WIDTH NO-BREAK SPACE"),
        ("\u00a0", "U+00A0", "NO-BREAK SPACE"),
        ("\u2028", "U+2028", "LINE SEPARATOR"),
        ("\u3164", "U+3164", "HANGUL FILLER"),
        ("\u2800", "U+2800", "BRAILLE PATTERN BLANK"),
        ("\ufe0f", "U+FE0F", "VARIATION SELECTOR-16"),
        ("\U000e0041", "U+E0041", "TAG LATIN CAPITAL LETTER A"),
        ("\r", "U+000D", "CONTROL CHARACTER"),
        ("\x00", "U+0000", "CONTROL CHARACTER"),
        ("\x1b", "U+001B", "CONTROL CHARACTER"),
        ("\ue000", "U+E000", "CONTROL CHARACTER"),
    ],
)
def test_a_character_that_would_not_show_is_shown_as_its_code(cast: Cast, hidden: str, code: str, name: str) -> None:
    view = shown(cast, {"path": f"in{hidden}voice.txt", "text": "plain"})
    block = argument(view, "path")["block"]
    assert read(block) == f"in⟦{code}⟧voice.txt"
    (segment,) = (segment for segment in block["segments"] if segment["kind"] == "escape")
    assert (segment["code"], segment["name"]) == (code, name)
    assert block["hidden"] == 1
    assert {"bidirectional", "invisible"} & set(warned(view))


def test_a_text_cannot_pretend_to_hold_an_escape_or_a_masked_value(cast: Cast) -> None:
    view = shown(cast, {"path": "⟦U+202E⟧", "text": "[redacted: email] [EMAIL]", "more": ["[EMAIL]"]})
    assert read(argument(view, "path")["block"]) == "⟦U+27E6⟧U+202E⟧"
    for name in ("text", "more"):
        assert [segment["kind"] for segment in argument(view, name)["block"]["segments"]] == ["text"]


def test_line_feeds_and_tabs_stay_and_ordinary_languages_are_left_alone(cast: Cast) -> None:
    text = "naïve\tcafé\n日本語 العربية עברית русский ελληνικά 🙂\n"
    view = shown(cast, {"path": "a.txt", "text": text})
    assert argument(view, "text")["block"]["segments"] == [{"kind": "text", "text": text}]
    assert warned(view) == []


def test_html_and_script_stay_text(cast: Cast) -> None:
    text = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    view = shown(cast, {"path": "a.html", "text": text})
    assert argument(view, "text")["block"]["segments"] == [{"kind": "text", "text": text}]


def test_hostile_text_does_not_blow_the_view_up(cast: Cast) -> None:
    text = "a\u200b" * 100_000
    view = shown(cast, {"path": "a.txt", "text": text})
    block = argument(view, "text")["block"]
    assert read(block) == "a⟦U+200B⟧" * 100_000
    assert block["hidden"] == 100_000
    assert len(json.dumps(block, ensure_ascii=False)) < 12 * len(text)


def test_values_are_masked_as_typed_chips_and_equal_ones_bear_equal_marks(cast: Cast) -> None:
    text = "Write to alice.liddell@example.com and mad.hatter@example.com, cc alice.liddell@example.com"
    view = shown(cast, {"path": "a.txt", "text": text})
    block = argument(view, "text")["block"]
    assert read(block) == "Write to [redacted: email] and [redacted: email], cc [redacted: email]"
    marks = [segment["mark"] for segment in block["segments"] if segment["kind"] == "chip"]
    assert marks[0] == marks[2] != marks[1]
    assert block["masked"] == 3
    assert "masked" in warned(view)
    assert "liddell" not in json.dumps(view.data)


def test_a_value_inside_an_encoded_document_has_its_chip_and_the_same_mark(cast: Cast) -> None:
    inner = json.dumps({"to": ["alice.liddell@example.com", "x"], "password": "tea-at-four"})
    text = json.dumps({"note": "for mad.hatter@example.com", "body": inner})
    plain = argument(shown(cast, {"path": "a", "text": "alice.liddell@example.com"}), "text")["block"]
    for arguments in ({"path": "a", "text": text}, {"path": "a", "text": {"deeper": [text]}}):
        block = argument(shown(cast, arguments), "text")["block"]
        chips = [segment for segment in block["segments"] if segment["kind"] == "chip"]
        assert [chip["label"] for chip in chips] == ["email", "email", "generic secret"]
        assert all(re.fullmatch("[0-9a-f]{16}", chip["mark"]) for chip in chips)
        assert chips[1]["mark"] == plain["segments"][0]["mark"] != chips[0]["mark"]
        assert "hatter" not in json.dumps(block)


@pytest.mark.parametrize(
    "text",
    ['{"a": "[EMAIL] alice.liddell@example.com"}', '{"a": "alice.liddell@example.com", "a": 1, "b": "x@y.example"}'],
)
def test_a_document_that_could_be_read_in_two_ways_is_masked_without_a_wrong_mark(cast: Cast, text: str) -> None:
    block = argument(shown(cast, {"path": "a", "text": text}), "text")["block"]
    known = {fingerprint(cast.acme.pk, raw)[:16] for raw in (b"alice.liddell@example.com", b"x@y.example")}
    chips = [segment for segment in block["segments"] if segment["kind"] == "chip"]
    assert chips
    assert {chip["mark"] for chip in chips} <= {"", *known}
    assert "liddell" not in json.dumps(block)


def test_marks_of_another_tenant_differ(cast: Cast) -> None:
    def mark(tenant_id: int) -> str:
        view = present(
            tenant_id=tenant_id,
            tool="write_file",
            sentence="mail alice.liddell@example.com",
            arguments={},
            manifest=WRITE_FILE,
            context=PresentationContext(verdict(), cast.alice.pk, "Alice", "Agent", 1),
        )
        (chip,) = (segment for segment in view.data["sentence"]["segments"] if segment["kind"] == "chip")
        return str(chip["mark"])

    assert mark(cast.acme.pk) != mark(cast.globex.pk)


def test_a_secret_is_masked_by_the_key_that_it_stands_under(cast: Cast) -> None:
    arguments = {"path": "a", "headers": {"Authorization": "Basic tea-at-four", "Accept": "text/html"}}
    view = shown(cast, arguments)
    text = read(argument(view, "headers")["block"])
    assert "tea-at-four" not in json.dumps(view.data)
    assert '"Accept": "text/html"' in text
    assert "[redacted: " in text


def test_nested_values_are_complete_indented_json_in_canonical_order(cast: Cast) -> None:
    value = {"b": [1, 2.5, None, True, {"z": "line\nfeed", "a": []}], "a": {}}
    view = shown(cast, {"path": "a", "options": value})
    shown_argument = argument(view, "options")
    assert shown_argument["format"] == "json"
    assert json.loads(read(shown_argument["block"])) == value
    assert read(shown_argument["block"]).index('"a": {}') < read(shown_argument["block"]).index('"b": [')
    assert [item["name"] for item in view.data["arguments"]] == ["options", "path"]


def test_a_write_is_a_unified_diff_against_the_present_file(cast: Cast) -> None:
    old = "".join(f"line {number}\n" for number in range(1, 31))
    new = old.replace("line 10\n", "line ten\n").replace("line 25\n", "")
    view = shown(cast, {"path": "a.txt", "text": new}, file_change=FileChange("a.txt", old, new))
    section = view.data["file"]
    drawn = [line["op"] + "".join(segment["text"] for segment in line["segments"]) for line in section["lines"]]
    assert drawn == [
        "@@@ -7,7 +7,7 @@",
        " line 7",
        " line 8",
        " line 9",
        "-line 10",
        "+line ten",
        " line 11",
        " line 12",
        " line 13",
        "@@@ -22,7 +22,6 @@",
        " line 22",
        " line 23",
        " line 24",
        "-line 25",
        " line 26",
        " line 27",
        " line 28",
    ]
    assert (section["added"], section["removed"], section["created"], section["deleted"]) == (1, 2, False, False)
    numbers = {(line["op"], line["old"], line["new"]) for line in section["lines"]}
    assert {("-", 10, None), ("+", None, 10), ("-", 25, None), (" ", 26, 25)} <= numbers


@pytest.mark.parametrize(
    ("old", "new", "flags", "note"),
    [
        (None, "a\n", {"created": True, "added": 1, "removed": 0}, ""),
        ("a\nb\n", None, {"deleted": True, "added": 0, "removed": 2}, ""),
        ("a\n", "a\n", {"unchanged": True, "added": 0, "removed": 0}, ""),
        ("a\n", "a", {"unchanged": False}, "The last line has no line feed."),
        ("a", "a\n", {"unchanged": False}, "A line feed is added to the last line."),
        ("", "", {"unchanged": True}, ""),
    ],
)
def test_creating_deleting_and_line_ends_are_told(
    cast: Cast, old: str | None, new: str | None, flags: dict[str, Any], note: str
) -> None:
    section = shown(cast, {"path": "a.txt"}, file_change=FileChange("a.txt", old, new)).data["file"]
    assert {name: section[name] for name in flags} == flags
    assert section["note"] == note


def test_a_masked_value_that_changes_still_shows_as_a_changed_line(cast: Cast) -> None:
    change = FileChange("a.txt", "to: alice.liddell@example.com\n", "to: mad.hatter@example.com\n")
    lines = shown(cast, {"path": "a.txt"}, file_change=change).data["file"]["lines"]
    assert [line["op"] for line in lines] == ["@", "-", "+"]
    assert all(line["segments"][1]["label"] == "email" for line in lines[1:])
    assert lines[1]["segments"][1]["mark"] != lines[2]["segments"][1]["mark"]


def test_a_private_key_over_many_lines_is_masked_on_each_of_them(cast: Cast) -> None:
    begin, end = (f"-----{word} PRIVATE KEY-----" for word in ("BEGIN", "END"))
    key = "\n".join([begin, *["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDx" for _ in range(5)], end])
    change = FileChange("key.pem", None, f"# key\n{key}\n# end\n")
    section = shown(cast, {"path": "key.pem"}, file_change=change).data["file"]
    assert "MIIEvQ" not in json.dumps(section)
    assert section["added"] == 9
    kinds = ["".join(segment["kind"] for segment in line["segments"]) for line in section["lines"][1:]]
    assert kinds == ["text", *["chip"] * 7, "text"]


def test_two_quite_different_large_files_are_compared_in_bounded_work(cast: Cast) -> None:
    old = "".join(f"{number * 7919 % 10007}\n" for number in range(8000))
    new = "".join(f"{number * 104729 % 10009} x\n" for number in range(8000))
    section = shown(cast, {"path": "a"}, file_change=FileChange("a", old, new)).data["file"]
    assert (section["added"], section["removed"]) == (8000, 8000)


def test_a_request_shows_method_host_headers_and_body(cast: Cast) -> None:
    call = HttpCall("POST", "https://api.example.com:8443/v1?q=1", {"Accept": "text/html"}, '{"a": 1}')
    section = shown(cast, {"url": call.url}, manifest=HTTP, request=call).data["request"]
    assert (section["method"], section["port"], section["host"]["ascii"]) == ("POST", 8443, "api.example.com")
    assert section["host"]["unusual"] is False
    assert read(section["url"]) == call.url
    assert [(read(header["name"]), read(header["value"])) for header in section["headers"]] == [("Accept", "text/html")]
    assert read(section["body"]) == '{"a": 1}'


@pytest.mark.parametrize(
    ("url", "ascii_host"),
    [
        ("https://\u0430pple.com/", "xn--pple-43d.com"),
        ("https://xn--pple-43d.com/", "xn--pple-43d.com"),
        ("https://b\u00fccher.example/", "xn--bcher-kva.example"),
        ("https://good.com\u2215evil.example/", None),
    ],
)
def test_a_host_that_is_not_what_it_looks_like_is_shown_in_punycode_with_a_warning(
    cast: Cast, url: str, ascii_host: str | None
) -> None:
    view = shown(cast, {"url": url}, manifest=HTTP, request=HttpCall("GET", url))
    host = view.data["request"]["host"]
    assert host["unusual"] is True
    assert "lookalike_host" in warned(view)
    if ascii_host is not None:
        assert host["ascii"] == ascii_host
        assert any(ascii_host in warning["text"] for warning in view.data["warnings"])


def test_a_word_of_mixed_alphabets_is_warned_of(cast: Cast) -> None:
    assert "mixed_scripts" in warned(shown(cast, {"path": "p\u0430ssword.txt"}))
    assert "mixed_scripts" not in warned(shown(cast, {"path": "пароль and password"}))


def test_why_who_where_and_what_before_are_told(cast: Cast) -> None:
    data = shown(
        cast,
        {"path": "a.txt"},
        manifest=HTTP,
        sentence="Send GET to example.com",
        steps=(Step("one"), Step("two", "of three"), Step("three")),
        sandbox=(("Network", "127.0.0.1:8000"),),
    ).data
    assert read(data["sentence"]) == "Send GET to example.com"
    assert data["tool"]["name"] == "http_request"
    assert (data["risk"], data["reversibility"]["class"]) == ("high", "irreversible")
    assert data["permissions"] == ["network"]
    assert data["why"]["permissions"] == ["filesystem"]
    assert data["approvers"] == {"roles": ["reviewer", "admin"], "count": 1, "four_eyes": True}
    assert [read(step["title"]) for step in data["steps"]] == ["two", "three"]
    assert data["submitter"] == {"id": cast.alice.pk, "name": "Alice Example"}
    assert data["agent"] == {"name": "Files and web", "version": 3}
    assert (data["sandbox"][0]["label"], read(data["sandbox"][0]["text"])) == ("Network", "127.0.0.1:8000")
    assert "irreversible" in [warning["kind"] for warning in data["warnings"]]


def test_steps_and_sandbox_are_redacted_and_unmasked_of_hidden_characters(cast: Cast) -> None:
    step = Step("Mailed alice.liddell@example.com", "ok\u202e")
    data = shown(cast, {}, steps=(step,), sandbox=(("Owner", "mad.hatter@example.com"),)).data
    assert read(data["steps"][0]["title"]) == "Mailed [redacted: email]"
    assert read(data["steps"][0]["detail"]) == "ok⟦U+202E⟧"
    assert read(data["sandbox"][0]["text"]) == "[redacted: email]"


def test_the_view_digest_is_that_of_the_data_before_and_after_the_database(cast: Cast) -> None:
    view = shown(cast, {"path": "a\x00b\ud800", "text": "日本\n", "size": 12, "ratio": 1.0})
    stored = json.loads(json.dumps(view.data))
    assert view.view_digest == view_digest_of(stored) == view_digest_of(view.data)
    assert view.redactor_version == redactors.redactor_version(cast.acme.pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [json.dumps(view.data)])


def test_the_same_call_has_the_same_view(cast: Cast) -> None:
    first = shown(cast, {"path": "a.txt", "text": "alice.liddell@example.com"})
    assert shown(cast, {"text": "alice.liddell@example.com", "path": "a.txt"}) == first
    assert shown(cast, {"text": "mad.hatter@example.com", "path": "a.txt"}).view_digest != first.view_digest


def test_a_call_that_cannot_be_redacted_cannot_be_shown(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise ValueError("alice.liddell@example.com is no pattern")

    monkeypatch.setattr("approvals.presentation.redactor_for", fail)
    with pytest.raises(NotPresentable, match="can't be approved") as failure:
        shown(cast, {"path": "a.txt"})
    assert "liddell" not in str(failure.value)


class _NothingToMask:
    """A redactor that finds nothing: what is left is rendering."""

    def spans(self, _text: str) -> list[Any]:
        return []

    def redact(self, value: Any) -> Any:
        return value


def test_a_change_of_rendering_raises_its_number() -> None:
    """When this fails, rendering has changed: raise `RENDERING`, so that gates which wait stay decidable."""
    renderer = Renderer(_NothingToMask(), lambda raw: raw.hex())
    value = {"b": [1, 2.5, None, True, {"z": "line\nfeed\u202e", "é": []}], "a": {}}
    blocks = [renderer.text("a\u200bb\tc\n\u27e6 d\r"), renderer.text(""), renderer.value(value, value)]
    digest = view_digest_of({"blocks": [block.as_dict() for block in blocks]})
    assert (RENDERING, digest) == (2, "7d6a87d640b0c63f26c89b770aba191d87b188d1fe0d384d2c66dbfb5dc8f1dd")
