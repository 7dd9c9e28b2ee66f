"""Constraints that can't work are refused when they are written, each with its own sentence."""

from __future__ import annotations

from typing import Any

import pytest

from approvals.constraint_checks import checked
from approvals.errors import BadConstraint

SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "options": {"$ref": "#/$defs/Options"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "additionalProperties": False,
    "$defs": {
        "Options": {
            "type": "object",
            "properties": {"names": {"type": "array", "items": {"type": "string"}}},
            "additionalProperties": False,
        }
    },
}


def one(kind: str, value: Any, pointer: str = "/path") -> dict[str, Any]:
    return {"pointer": pointer, "kind": kind, "value": value}


@pytest.mark.parametrize(
    "raw",
    [
        [],
        [one("path_under", "a"), one("path_under", "a/b")],
        [one("prefix", "rep"), one("glob", "reports/*")],
        [one("range", {"min": 1}, "/count"), one("range", {"max": 1}, "/count")],
        [one("host_in", ["*.example.com"]), one("host_in", ["a.example.com", "b.test"])],
        [one("one_of", ["a", "b"]), one("glob", "a*")],
        [one("exact", "x", "/options/names/0")],
        [one("exact", {"names": ["x"]}, "/options"), one("glob", "x*", "/options/names/0")],
        [one("prefix", "Bearer ", "/headers/Authorization")],
        [one("exact", None, "/count")],
    ],
)
def test_what_can_be_met_is_taken(raw: Any) -> None:
    assert len(checked(raw, argument_schema=SCHEMA)) == len(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({}, "JSON list"),
        ([one("exact", 1)] * 51, "At most 50"),
        (["x"], "Constraint 1"),
        ([one("like", "x")], "kind"),
        ([{**one("glob", "x"), "extra": 1}], "extra"),
        ([one("glob", "x", "path")], "begins with /"),
        ([one("glob", "x", "/a~2")], "begins with /"),
        ([one("glob", "")], "1 to 2000"),
        ([one("glob", 3)], "text"),
        ([one("path_under", "../x")], "without `..`"),
        ([one("path_under", "x\0")], "without NUL"),
        ([one("prefix", "reports/\0")], "without NUL"),
        ([one("glob", "reports/*\0")], "without NUL"),
        ([one("prefix", "https://api.example.com")], "other hosts"),
        ([one("range", {}, "/count")], "range wants"),
        ([one("range", {"least": 1}, "/count")], "range wants"),
        ([one("range", {"min": True}, "/count")], "finite numbers"),
        ([one("range", {"min": 2, "max": 1}, "/count")], "empty"),
        ([one("one_of", [])], "at least one"),
        ([one("host_in", ["127.1"])], "no host"),
        ([one("host_in", ["https://example.com"])], "no host"),
        ([one("host_in", "example.com")], "list"),
        ([one("digest", "abc")], "64 hex"),
        ([one("glob", "x", "/nope")], "no argument /nope. It has: count, headers, options, path."),
        ([one("glob", "x", "/options/nope")], "no argument"),
        ([one("range", {"min": 1})], "compares numbers"),
        ([one("glob", "x", "/count")], "compares texts"),
        ([one("exact", "a"), one("exact", "b")], "Nothing can be"),
        ([one("exact", "b/c"), one("path_under", "a")], "Nothing can be"),
        ([one("path_under", "a"), one("path_under", "b")], "Nothing can be"),
        ([one("prefix", "a"), one("glob", "b*")], "Nothing can be"),
        ([one("range", {"min": 2}, "/count"), one("range", {"max": 1}, "/count")], "Nothing can be"),
        ([one("host_in", ["*.example.com"]), one("host_in", ["example.com"])], "Nothing can be"),
        ([one("host_in", ["example.com"]), one("host_in", ["example.com:81"])], "Nothing can be"),
        ([one("one_of", ["ab", "cd"]), one("prefix", "a"), one("glob", "*d")], "Nothing can be|No value is left"),
        ([one("one_of", ["ab", "ad"]), one("prefix", "ab"), one("glob", "*d")], "No value is left"),
        ([one("exact", {"names": []}, "/options"), one("exact", "x", "/options/names/0")], "Nothing can be"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(raw: Any, words: str) -> None:
    with pytest.raises(BadConstraint, match=words):
        checked(raw, argument_schema=SCHEMA)


def test_every_problem_is_named() -> None:
    with pytest.raises(BadConstraint) as refused:
        checked([one("glob", ""), one("exact", 1), one("range", {"min": 1})], argument_schema=SCHEMA)
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["Constraint 1", "Constraint 3"]
