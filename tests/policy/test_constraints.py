"""Argument constraints on canonical values: what meets them, and every trick that must not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.canonical import digest
from approvals.constraints import MISSING, first_unmet, meets, same, sentence, value_at
from approvals.places import Host, host_of
from approvals.types import ArgumentConstraint


def constraint(kind: str, value: Any, pointer: str = "/a") -> ArgumentConstraint:
    return ArgumentConstraint(pointer=pointer, kind=kind, value=value)


@pytest.mark.parametrize(
    ("kind", "wanted", "value", "met"),
    [
        ("exact", 1, 1, True),
        ("exact", 1, 1.0, True),
        ("exact", 1, True, False),
        ("exact", "1", 1, False),
        ("exact", [1, {"b": None}], [1, {"b": None}], True),
        ("exact", [1], [1, 2], False),
        ("exact", {"b": True}, {"b": 1}, False),
        ("glob", "reports/*.md", "reports/a.md", True),
        ("glob", "reports/*.md", "reports/x/a.md", False),
        ("glob", "reports/**", "reports/x/a.md", True),
        ("glob", "reports/**", "reports/../secrets", False),
        ("glob", "reports/*", "reports/a\0.md", False),
        ("glob", "reports/*", "Reports/a", False),
        ("glob", "a?c", "abc", True),
        ("glob", "a?c", "a/c", False),
        ("glob", "[ab]", "a", False),
        ("glob", "a.c", "abc", False),
        ("glob", "*", 3, False),
        ("glob", "*", "\ud800", False),
        ("glob", "**", "one\ntwo", True),
        ("prefix", "https://example.com/", "https://example.com/x", True),
        ("prefix", "reports/", "reports/../x", False),
        ("prefix", "reports/", "reports/a\0.md", False),
        ("prefix", "re", ["report"], False),
        ("prefix", "https://example.com/open/", "https://example.com/open/%2e%2e/closed", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/.%2E/closed", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/..%2fclosed", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/..%5Cclosed", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/%252e%252e/closed", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/..;x=1/closed", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/..?x", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/a%00.md", False),
        ("prefix", "https://example.com/open/", f"https://example.com/open/%{'25' * 20}", False),
        ("prefix", "https://example.com/open/", "https://example.com/open/a..b/100%25/..c", True),
        ("glob", "https://example.com/open/*", "https://example.com/open/%2e%2e%2fclosed", False),
        ("range", {"min": 1, "max": 3}, 3, True),
        ("range", {"min": 1}, 0, False),
        ("range", {"max": 3}, 3.5, False),
        ("range", {"min": 0}, True, False),
        ("range", {"min": 0}, float("nan"), False),
        ("range", {"min": 0}, "5", False),
        ("one_of", ["GET", "HEAD"], "GET", True),
        ("one_of", ["GET", "HEAD"], "get", False),
        ("one_of", [0], False, False),
        ("path_under", "reports", "reports/2026/a.md", True),
        ("path_under", "reports", "reports", True),
        ("path_under", "reports", "./reports//a.md", True),
        ("path_under", "reports", "reports2/a.md", False),
        ("path_under", "reports", "reports/../secrets", False),
        ("path_under", "reports", "/reports/a.md", False),
        ("path_under", "reports", "reports/a\0b", False),
        ("path_under", "/srv/data", "/srv/data/x", True),
        ("path_under", ".", "anything", True),
        ("path_under", ".", "/etc/passwd", False),
    ],
)
def test_what_meets_a_constraint(kind: str, wanted: Any, value: Any, met: bool) -> None:  # noqa: FBT001 - a table's column
    assert meets({"a": value}, constraint(kind, wanted)) is met


HOSTS = ["example.com", "*.example.org", "127.0.0.1:8000", "[::1]:8443"]


@pytest.mark.parametrize(
    ("url", "met"),
    [
        ("https://example.com/x", True),
        ("https://EXAMPLE.com./x", True),
        ("http://example.com:80/", True),
        ("example.com", True),
        ("https://a.b.example.org", True),
        ("http://127.0.0.1:8000/page", True),
        ("https://[::1]:8443/", True),
        ("https://example.org", False),
        ("https://example.com:8443", False),
        ("http://127.0.0.1/", False),
        ("https://example.com.evil.test", False),
        ("https://evil.test/?example.com", False),
        ("https://example.com@evil.test/", False),
        ("https://user@example.com/", False),
        ("https://evil.test\\@example.com/", False),
        ("https://evil.test\t.example.com", False),
        ("https://notexample.org", False),
        ("file://example.com/etc/passwd", False),
        ("https:example.com", False),
        ("http://2130706433:8000/", False),
        ("http://0x7f000001:8000/", False),
        ("http://0177.0.0.1:8000/", False),
        ("http://127.1:8000/", False),
        ("http://①②⑦.⓪.⓪.①:8000/", False),
        ("https://example.com:99999/", False),
        ("https://example。com/", True),
        ("https://ex\u0430mple.com/", False),
        ("", False),
    ],
)
def test_hosts_are_compared_in_the_one_form_that_is_looked_up(url: str, met: bool) -> None:  # noqa: FBT001 - a table's column
    assert meets({"a": url}, constraint("host_in", HOSTS)) is met


@pytest.mark.parametrize("url", ["http://[::1]1", "http://[::1]8443/", "http://evil.test[::1]/", "http://[::1]x/"])
def test_what_two_readers_read_with_different_ports_is_no_host(url: str) -> None:
    assert host_of(url) is None
    assert host_of("http://[::1]:8443/") == Host("::1", 8443, usual_port=False)


def test_a_pointer_leads_to_one_place_or_nowhere() -> None:
    arguments = {"a": [{"b/c": 1, "d~e": 2}], "": 3}
    assert value_at(arguments, constraint("exact", 0, "/a/0/b~1c").keys) == 1
    assert value_at(arguments, constraint("exact", 0, "/a/0/d~0e").keys) == 2
    assert value_at(arguments, constraint("exact", 0, "/").keys) == 3
    for nowhere in ("/a/1", "/a/-", "/a/00", "/a/0/b", "/x", "/a/0/b~1c/z"):
        assert value_at(arguments, constraint("exact", 0, nowhere).keys) is MISSING
        assert not meets(arguments, constraint("one_of", [None, 0, ""], nowhere))


def test_a_digest_stands_for_a_long_value() -> None:
    whole = ArgumentConstraint(pointer="", kind="digest", value=digest({"a": "x" * 9000}))
    assert meets({"a": "x" * 9000}, whole)
    assert not meets({"a": "x" * 9000, "b": 1}, whole)
    assert not meets({"a": float("nan")}, whole)


def test_the_first_unmet_constraint_is_told_as_a_sentence() -> None:
    under, size = constraint("path_under", "reports"), constraint("range", {"max": 10}, "/n")
    assert first_unmet({"a": "reports/x", "n": 3}, (under, size)) is None
    unmet = first_unmet({"a": "reports/x", "n": 30}, (under, size))
    assert unmet is size
    assert sentence(under) == '`/a` under `"reports"`'
    assert len(sentence(constraint("one_of", ["x" * 500] * 20, "/" + "p" * 400))) < 250


def test_a_glob_is_matched_in_linear_time() -> None:
    assert not meets({"a": "a" * 50_000}, constraint("glob", "*a*a*a*a*a*a*a*a*a*b"))  # backtracking would never end


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, json_values)
def test_equality_is_that_of_canonical_json(one: Any, other: Any) -> None:
    assert same(one, one)
    assert same(one, other) == (digest(one) == digest(other))
