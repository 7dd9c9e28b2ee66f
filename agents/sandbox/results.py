"""Judging what came out of a child: against the declared schema, and made safe to show."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import jsonschema
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents.sandbox import framing
from agents.sandbox.errors import ProtocolError
from agents.sandbox.outcome import CLAIMABLE, AttackClass, Attempt, FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PROBLEM = 300


# The tool let an error of the kernel's pass: a limit met, or access refused.
_AMOUNTS_TO = {FailureKind.RESOURCES: AttackClass.RESOURCES, FailureKind.VIOLATION: AttackClass.FILESYSTEM}


class Head(BaseModel):
    """The first half of a child's answer, as a child that keeps to the protocol sends it. Nothing in it is trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    ok: bool
    kind: FailureKind = Field(default=FailureKind.TOOL_ERROR, strict=False)
    message: str = ""
    output: str = ""
    violations: list[Annotated[tuple[str, str, bool], Field(strict=False)]] = Field(default=[], max_length=100)
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

    @field_validator("kind")
    @classmethod
    def _claimable(cls, kind: FailureKind) -> FailureKind:
        if kind not in CLAIMABLE:
            raise ValueError("not for a child to say")
        return kind

    def attacks(self) -> list[Attempt]:
        """The attempts that the child noticed, made safe to show; if it noticed none, what its failure amounts to."""
        known = set(AttackClass)
        if not self.ok and not self.violations and self.kind in _AMOUNTS_TO:
            return [Attempt(_AMOUNTS_TO[self.kind], safe_text(self.message, 300, line=True))]
        return [
            Attempt(AttackClass(k), safe_text(text, 300), grave) for k, text, grave in self.violations if k in known
        ]


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


def nested_deeper_than(limit: int, value: Any, text: bytes) -> bool:
    """Whether `value`, read from the JSON `text`, holds lists and objects in each other more than `limit` deep.

    An honest child can't send that (orjson gives up at 254), and much of Python that it meets later gives up at 1,000.
    """
    if text.count(b"[") + text.count(b"{") <= limit:
        return False
    layer = [value]
    for _ in range(limit + 1):
        inner = [each for each in layer if isinstance(each, list | dict)]
        layer = [below for each in inner for below in (each.values() if isinstance(each, dict) else each)]
        if not inner:
            return False
    return True


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
