"""Judging what came out of a child: against the declared schema, and made safe to show."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jsonschema
import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PROBLEM = 300


@functools.lru_cache(maxsize=256)
def _validator(schema: bytes) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(orjson.loads(schema))


def problem_with(result: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with a result, as one sentence without the value, or None when it matches its JSON Schema."""
    validator = _validator(orjson.dumps(dict(schema), option=orjson.OPT_SORT_KEYS))
    try:
        error = next(validator.iter_errors(result), None)
    except RecursionError:
        return "The result is nested too deeply."
    if error is None:
        return None
    where = "/".join(str(part) for part in error.absolute_path) or "the result"
    return f"The result does not match what the tool declares: {where} fails “{error.validator}”."[:_MAX_PROBLEM]


def safe_text(text: Any, limit: int) -> str:
    """Text from a child, cut, with control characters but newline and tab escaped: no terminal codes, no fake lines."""
    if not isinstance(text, str):
        return ""
    cut = text[:limit]
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in cut)
