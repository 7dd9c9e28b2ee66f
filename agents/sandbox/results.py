"""Judging what came out of a child: against the declared schema, and made safe to show."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import jsonschema
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.sandbox import framing
from agents.sandbox.errors import ProtocolError
from agents.sandbox.outcome import AttackClass, FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PROBLEM = 300


class Head(BaseModel):
    """The first half of a child's answer, as a child that keeps to the protocol sends it. Nothing in it is trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ok: bool
    kind: FailureKind = Field(default=FailureKind.TOOL_ERROR, strict=False)
    message: str = ""
    output: str = ""
    violations: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default=[], max_length=100)
    read: int = Field(default=0, ge=0)
    written: int = Field(default=0, ge=0)
    retry_after: float | None = Field(default=None, ge=0, le=3600)
    outside: bool = False

    @classmethod
    def parse(cls, body: bytes) -> Head:
        """Read a head.

        Raises:
            ProtocolError: it is not one.
        """
        try:
            return cls.model_validate(framing.decode(body))
        except ValidationError:
            raise ProtocolError("Not an answer") from None

    def attacks(self) -> list[tuple[AttackClass, str]]:
        """The attempts that the child noticed, made safe to show."""
        known = set(AttackClass)
        return [(AttackClass(kind), safe_text(detail, 300)) for kind, detail in self.violations if kind in known]


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


def safe_text(text: Any, limit: int, *, line: bool = False) -> str:
    """Text from a child, cut, with control characters escaped: no terminal codes, no forged log lines.

    Newlines and tabs stay, unless it must be one `line`.
    """
    if not isinstance(text, str):
        return ""
    cut = text[:limit]
    if cut.isprintable():
        return cut
    kept = "" if line else "\n\t"
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in cut)
