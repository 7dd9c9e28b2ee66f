"""The quick canonical JSON is byte for byte the reference's, or refused as that refuses it."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from traces.canonical import canonical_bytes

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**54), 2**54),
    st.floats(),
    st.text(st.characters(), max_size=12),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(st.characters(), max_size=6), st.text("ab\u007f\ufffe\U00010000")), inner),
    ),
    max_leaves=25,
)


def of_reference(value: Any) -> bytes | type[Exception]:
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        return type(error)


def of_ours(value: Any) -> bytes | type[Exception]:
    try:
        return canonical_bytes(value)
    except rfc8785.CanonicalizationError as error:
        return type(error)


@given(VALUES)
@example({"\ufffe": 1, "\U00010000": 2})
@example({"b": 1, "a": [True, None, '\b\t\n\f\r"\\/\x00\x1f\x7f\u2028']})
@example([1e21, 1e-7, -0.0, 2**53 - 1, 2**53, -(2**53)])
@example("\ud800")
def test_every_value_is_written_as_the_reference_writes_it(value: Any) -> None:
    assert of_ours(value) == of_reference(value)


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {2}}, object(), b"bytes"])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_bytes(value)


def test_a_value_too_deep_for_the_quick_way_is_written_all_the_same() -> None:
    deep: Any = "x"
    for _ in range(260):
        deep = [deep]
    assert canonical_bytes(deep) == rfc8785.dumps(deep)
