"""A tenant's own patterns: refused when they are saved, bounded when they run."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from traces.redaction import PatternError, PIIRedactionHook
from traces.redaction.custom import MAX_MATCHES, MAX_PATTERN_LENGTH, MAX_PATTERNS, WINDOW, check_rule


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        ("(", "x", "RE2 syntax"),
        (r"(?<=a)b", "x", "RE2 syntax"),
        (r"(a)\1", "x", "RE2 syntax"),
        ("a*", "x", "empty string"),
        ("", "x", "empty string"),
        (r"\b", "x", "empty string"),
        ("$", "x", "empty string"),
        ("a" * (MAX_PATTERN_LENGTH + 1), "x", "longer than"),
        ("a", "x" * 65, "replacement longer"),
        ("(a)", r"\2", "group 2"),
        ("a", r"\1", "group 1"),
        ("(?P<n>a)", r"\g<m>", "'m'"),
        ("(a)", r"\g<2>", "group 2"),
        ("a", "\\", "backslash"),
        ("a", r"\q", "backslash"),
        ("(?:a?){1000}b", "x", "slow|large|syntax"),
        ("(?:(?:a|b)?(?:a|c)?){300}d", "x", "slow|large|syntax"),
    ],
)
def test_bad_patterns_are_refused_with_a_reason(pattern: str, replacement: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PIIRedactionHook(redact_patterns=((pattern, replacement),))
    with pytest.raises(PatternError, match=message):
        check_rule(pattern, replacement)


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(ValidationError, match="at most"):
        PIIRedactionHook(redact_patterns=tuple((f"a{index}", "x") for index in range(MAX_PATTERNS + 1)))


def test_patterns_replace_with_their_own_text() -> None:
    hook = PIIRedactionHook.model_validate(
        {"redact_patterns": [(r"\b[A-Z]{2}\d{6}\b", "[PASSPORT]"), (r"EMP-(\d)\d+", r"EMP-\1…")]}
    )
    redactor = hook.compile()
    shown = redactor.redact({"a": ["AB123456 and EMP-4411, bob@example.com"], "AB123456": 1})
    assert shown == {"a": ["[PASSPORT] and EMP-4…, [REDACTED]"], "[PASSPORT]": 1}
    assert redactor.redact(shown) == shown
    assert [(span.start, span.end, span.label) for span in redactor.spans("AB123456")] == [(0, 8, "CUSTOM")]


def test_a_pattern_over_a_known_value_hides_all_of_both() -> None:
    redactor = PIIRedactionHook(redact_patterns=((r"bob@example", "<name>"),)).compile()
    assert redactor.redact("mail bob@example.com now") == "mail [REDACTED] now"


def test_a_pattern_does_not_eat_the_tokens() -> None:
    redactor = PIIRedactionHook(mode="typed", redact_patterns=((r"[A-Z]+", "[X]"),)).compile()
    shown = redactor.redact("ABC bob@example.com")
    assert shown == "[X] [EMAIL]"
    assert redactor.redact(shown) == shown


def test_too_many_matches_replace_the_whole_text() -> None:
    redactor = PIIRedactionHook(redact_patterns=(("secret-[0-9]+", "[S]"),)).compile()
    assert redactor.redact("secret-1 " * MAX_MATCHES) == "[S] " * MAX_MATCHES
    assert redactor.redact("secret-1 " * (MAX_MATCHES + 1)) == "[REDACTED]"
    assert redactor.redact(["fine", "secret-1 " * (MAX_MATCHES + 1)]) == ["fine", "[REDACTED]"]


def test_a_match_across_two_windows_is_found() -> None:
    redactor = PIIRedactionHook(redact_patterns=(("EMP-[0-9]{6}", "[E]"),)).compile()
    for position in range(WINDOW - 20, WINDOW + 4, 3):
        text = "." * position + "EMP-123456" + "." * WINDOW
        assert redactor.redact(text) == text.replace("EMP-123456", "[E]")


def test_bait_for_a_quadratic_search_fails_closed() -> None:
    redactor = PIIRedactionHook(redact_patterns=(("a.*z|a", "[X]"),)).compile()
    assert redactor.redact("a" * 50_000) == "[REDACTED]"


def test_a_pattern_is_tried_on_every_integer() -> None:
    redactor = PIIRedactionHook(redact_patterns=((r"\b\d{6}\b", "[EMPLOYEE]"),)).compile()
    value = {
        "number": 123_456,
        "more": [123_456, -123_456, 0, 12],
        "rows": [{"of": 123_456}] * 20,
        "set": True,
        "f": 1.5,
    }
    assert redactor.redact(value) == {
        "number": "[EMPLOYEE]",
        "more": ["[EMPLOYEE]", "[EMPLOYEE]", 0, 12],
        "rows": [{"of": "[EMPLOYEE]"}] * 20,
        "set": True,
        "f": 1.5,
    }
    assert redactor.redact('{"of":123456}') == '{"of":"[EMPLOYEE]"}'
